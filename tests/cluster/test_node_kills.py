"""The fixes of the nodes killed at every write: real API server, real settings of a real kernel.

MIRROR_NODE_KILLS says how many of the points are taken (docs/fixes.md has the figures of all).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from deploy.changes import node_target
from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Refusal
from deploy.changes.model import NodeFile, NodeSysctl
from deploy.fixes.host_sysctl import BOOT_FILE
from deploy.registry import load_editors, load_fixes
from deploy.repair import node_agents
from deploy.repair.model import FixProofError
from deploy.repair.rollback import report_unreachable
from mirror.agent.sysctls import DISABLE_IPV6_ALL
from mirror.core.errors import ClusterError, MirrorError
from tests.cluster import v3_pools
from tests.cluster.bare_hosts import BareHostDriver, ask_bare_host
from tests.cluster.fix_targets import run_killed_at_write
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.node_fix_cluster import FIXES, POOL_SPEC, NodeFixCluster, start_node_fix_cluster

pytestmark = pytest.mark.cluster

KILL_POINTS = int(os.environ.get("MIRROR_NODE_KILLS", "3"))


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFixCluster]:
    patch = pytest.MonkeyPatch()
    patch.setattr(node_target, "ask_agent", ask_bare_host)
    patch.setattr(node_agents, "ask_agent", ask_bare_host)
    try:
        # a socket's path may have 107 characters
        with start_node_fix_cluster(tmp_path_factory.mktemp("h")) as field:
            yield field
    except START_ERRORS as error:
        skip_or_fail(error)
    finally:
        patch.undo()


def choose_kill_points(total: int) -> list[int]:
    """All, or as many as asked for, spread evenly."""
    every_one = list(range(1, total + 1))
    return (
        every_one if total <= KILL_POINTS else every_one[:: -(-total // KILL_POINTS)][:KILL_POINTS]
    )


def test_all_there_and_back_with_a_pool_deleted(field: NodeFixCluster) -> None:
    """A CIDR that is not canonical comes back as it was written."""
    before = field.read_state()
    field.apply(delete=True)
    after = field.read_state()
    assert after["pool"] is None
    assert after["host"]["all"] == "1\n"
    assert after["host"]["lo"] == "0\n"
    assert "fd70" not in after["host"]["addresses"]
    assert "::1" in after["host"]["::1"]
    env = after["calico"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "NO_DEFAULT_POOLS", "value": "true"} in env
    assert set(field.read_fix_states().values()) == {"applied"}
    field.rollback()
    assert field.read_state() == before
    assert before["pool"][0]["cidr"] == POOL_SPEC["cidr"]


@pytest.mark.parametrize("sent", [False, True], ids=["before sending", "after sending"])
@pytest.mark.parametrize("then", ["resume", "rollback"])
@pytest.mark.parametrize("during", ["apply", "rollback"])
def test_killed_at_every_write(field: NodeFixCluster, during: str, then: str, sent: bool) -> None:
    # the Lease twice; for each of eight targets the entry, the target, the entry again
    total, done = 2 + 3 * 8, 0
    before = field.read_state()
    act: Callable[[], None] = field.apply if during == "apply" else field.rollback
    for number in choose_kill_points(total):
        if during == "rollback":
            field.apply()
        assert run_killed_at_write(number, sent=sent, action=act), number
        if then == "resume":
            field.apply()
            assert set(field.read_fix_states().values()) == {"applied"}, number
        field.rollback()
        assert field.read_state() == before, number
        done += 1
    if during == "rollback":
        field.apply()
    assert not run_killed_at_write(total + 1, sent=sent, action=act), (
        "there are more writes than points"
    )
    field.rollback()
    print(f"killed during {during} {'after' if sent else 'before'} sending, then {then}: {done}")


def test_the_agent_killed_at_every_write_of_a_host(field: NodeFixCluster) -> None:
    """Addresses and routes come back though it dies while it sets them: the next finishes."""
    host, kills = field.host, 0
    before = host.read_state()
    read = {"do": "read", "target": DISABLE_IPV6_ALL}

    def turn(value: bytes, seen: Mapping[str, Any], frame: str) -> dict[str, Any]:
        content = base64.b64encode(value).decode()
        words = {"do": "write", "target": DISABLE_IPV6_ALL, "content": content, "frame": frame}
        return {**words, "seen": seen["version"]}

    on = host.ask_agent(read)
    frame = on["frame"]
    for value, other in ((b"1\n", b"0\n"), (b"0\n", b"1\n")):
        number = 0
        while host.kill_agent_at(number, turn(value, host.ask_agent(read), frame)):
            now = base64.b64decode(host.ask_agent(read)["content"])
            assert now in (value, other), number
            if now == b"0\n":
                assert host.read_state() == before, number
            if now == value:
                assert "content" in host.ask_agent(turn(other, host.ask_agent(read), frame))
            number, kills = number + 1, kills + 1
    assert host.read_state() == before
    assert kills >= 12
    print(f"the agent killed at {kills} writes")


def test_a_rollback_killed_at_every_write_is_not_undone_by_who_keeps(field: NodeFixCluster) -> None:
    """What was reverted by hand comes back; what a rollback has put back stays."""
    before, path = field.read_state(), field.host.root / "etc/cni/net.d/10-calico.conflist"
    original = path.read_text()
    for number in choose_kill_points(2 + 3 * 8):
        field.apply()
        assert len(field.publish_desired_state()) == 4
        path.write_text(original)
        field.host.run("sysctl", "-qw", f"{DISABLE_IPV6_ALL}=0")
        assert field.host.reconcile_once().count("FixReverted") >= 2, number
        assert set(field.read_fix_states().values()) == {"applied"}, number
        assert run_killed_at_write(number, sent=True, action=field.rollback), number
        now = field.host.read_state()
        assert field.host.reconcile_once() == "", number
        assert field.host.read_state() == now, number
        field.rollback()
        assert field.read_state() == before, number


def test_a_node_that_is_gone_for_ever_can_be_forgotten(field: NodeFixCluster) -> None:
    """Its entries alone: all else goes back, by what is stored."""
    before = field.read_state()
    field.apply()
    works = field.make_engine()
    hand = BareHostDriver(field.targets.connect(), {})
    lost = ChangeEngine(field.targets.connect(), load_editors(), {NodeFile: hand, NodeSysctl: hand})
    stored = [one for one in lost.entries() if isinstance(one.target, NodeFile | NodeSysctl)]
    away = lost.find_unreachable(entry.target for entry in lost.entries())
    assert len(away) == 4
    with pytest.raises(FixProofError, match="not rolled back on babel") as said:
        report_unreachable(field.targets.connect(), lost, away, force=False)
    assert "--force forgets" in said.value.next_step
    assert lost.find_unreachable(entry.target for entry in lost.entries()) == away
    report_unreachable(field.targets.connect(), lost, away, force=True)
    with lost.hold_lease():
        for step in lost.plan_rollback(FIXES):
            lost.apply(step)
    assert works.entries() == []
    after = field.read_state()
    assert {**after, "host": {}} == {**before, "host": {}}
    for entry in stored:  # it was not gone for ever, after all: by hand
        field.host.restore_entry(entry)
    assert field.read_state() == before


def test_a_pool_that_somebody_edited_since(field: NodeFixCluster) -> None:
    """His edit is kept."""
    before = field.read_state()["pool"][0]
    field.apply()
    field.edit_pool(natOutgoing=True)
    field.rollback()
    assert field.read_state()["pool"][0] == {**before, "natOutgoing": True}
    field.edit_pool(natOutgoing=None)


def test_a_conflist_written_anew_is_seen_and_changed_again(field: NodeFixCluster) -> None:
    before, path = field.read_state(), field.host.root / "etc/cni/net.d/10-calico.conflist"
    original = path.read_text()
    field.apply()
    fixed = path.read_text()
    path.write_text(original)
    assert field.read_fix_states()["pod-sysctl"] == "drifted"
    field.apply()
    assert path.read_text() == fixed
    other = json.dumps({"type": "bandwidth", "capabilities": {"bandwidth": True}})
    added = fixed.replace("\n  ]\n}", f",\n    {other}\n  ]\n}}")
    path.write_text(added)
    assert field.read_fix_states()["pod-sysctl"] == "applied"
    field.rollback()
    assert [one["type"] for one in json.loads(path.read_text())["plugins"]] == [
        *("calico", "portmap", "bandwidth")
    ]
    path.write_text(original)
    assert field.read_state() == before


def test_a_malformed_conflist_stops_it_before_the_first_write(field: NodeFixCluster) -> None:
    before, path = field.read_state(), field.host.root / "etc/cni/net.d/10-calico.conflist"
    original = path.read_text()
    path.write_text(original[:-3])
    works = field.make_engine()
    seen = field.collect_evidence(field.targets.connect())
    for name in ("pod-sysctl", "ippool"):
        told = load_fixes()[name].plan_changes(seen, {}, works.applied_changes(name))
        assert isinstance(told, Refusal)
        assert "10-calico.conflist: line" in told.objects[0]
    path.write_text(original)
    assert field.read_state() == before


def test_the_node_goes_down_in_the_middle(field: NodeFixCluster) -> None:
    """What is written stays stored; the same command goes on when the node is back."""
    before = field.read_state()
    cluster, hand = (
        field.targets.connect(),
        BareHostDriver(field.targets.connect(), {"babel": field.host}),
    )
    works = ChangeEngine(cluster, load_editors(), {NodeFile: hand, NodeSysctl: hand})
    steps = works.plan(field.decide_changes(works))
    with works.hold_lease(), pytest.raises(ClusterError, match="babel cannot be reached"):
        for step in steps:
            if step.target == NodeFile(node="babel", path=BOOT_FILE):
                hand.lose_node("babel")
            works.apply(step)
    assert field.read_fix_states()["host-sysctl"] == "partial"
    assert works.find_unreachable(e.target for e in works.entries()) != []
    field.apply()
    assert set(field.read_fix_states().values()) == {"applied"}
    field.rollback()
    assert field.read_state() == before


def test_a_read_only_setting_stops_it_and_resumes(field: NodeFixCluster) -> None:
    """Nothing is said to be done that is not; the rest goes back."""
    before = field.read_state()
    works = field.make_engine()
    steps = works.plan(field.decide_changes(works))
    away = field.host.mount_read_only("/proc/sys/net")
    with away, works.hold_lease(), pytest.raises(MirrorError) as refused:
        for step in steps:
            works.apply(step)
    assert "disable_ipv6 cannot be set: Read-only file system" in str(refused.value)
    assert "partial" in set(field.read_fix_states().values())
    field.rollback()
    assert field.read_state() == before


# -- from here on in order, in a cluster whose pools are in another API ---------------------------


@pytest.fixture(scope="module")
def v3(field: NodeFixCluster) -> NodeFixCluster:
    """The pools moved to projectcalico.org/v3, the fixes in force, as newer Calicos do it."""
    field.apply()
    return field.move_pool_to_v3()


def test_pools_that_were_moved_to_v3_since(v3: NodeFixCluster) -> None:
    """What was stored of them in v1 goes back in v3."""
    v3_pools.check_pool_moved_to_v3(v3)


def test_pools_that_stand_in_v3_alone(v3: NodeFixCluster) -> None:
    """Disabled, kept and deleted by the one API that has them, and back as they were."""
    v3_pools.check_v3_only(v3)


def test_a_pool_that_calico_has_not_let_go_of_yet(v3: NodeFixCluster) -> None:
    """Newer Calicos end it when its last address is given back: until then it cannot come back."""
    v3_pools.check_pool_with_finalizer(v3)
