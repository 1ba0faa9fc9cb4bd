"""The node fixes killed at every write, on a real API server and real kernel settings.

MIRROR_NODE_KILLS sets how many kill points are tested; docs/fixes.md has the results for all.
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
from deploy.fix_registry import load_editors, load_fixes
from deploy.repair import node_agents
from deploy.repair.model import FixProofError
from deploy.repair.rollback import report_unreachable
from mirror.agent.allowlist import BOOT_FILE, DISABLE_IPV6_ALL
from mirror.core.errors import ClusterError, MirrorError
from tests.cluster import v3_pools
from tests.cluster.bare_hosts import BareHostDriver, ask_bare_host
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.kills import run_killed_at_write
from tests.cluster.node_fix_cluster import FIXES, POOL_SPEC, NodeFixCluster, start_node_fix_cluster

pytestmark = pytest.mark.cluster

KILL_POINTS = int(os.environ.get("MIRROR_NODE_KILLS", "3"))


@pytest.fixture(scope="module")
def node_fix_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFixCluster]:
    patch = pytest.MonkeyPatch()
    patch.setattr(node_target, "ask_agent", ask_bare_host)
    patch.setattr(node_agents, "ask_agent", ask_bare_host)
    try:
        # a socket path is limited to 107 characters
        with start_node_fix_cluster(tmp_path_factory.mktemp("h")) as node_fix_cluster:
            yield node_fix_cluster
    except START_ERRORS as error:
        skip_or_fail(error)
    finally:
        patch.undo()


def choose_kill_points(total: int) -> list[int]:
    """Return all numbers up to total, or KILL_POINTS of them, evenly spread."""
    points = list(range(1, total + 1))
    return points if total <= KILL_POINTS else points[:: -(-total // KILL_POINTS)][:KILL_POINTS]


def test_applies_and_rolls_back_with_a_deleted_pool(node_fix_cluster: NodeFixCluster) -> None:
    """A CIDR that is not in canonical form is restored as it was written."""
    before = node_fix_cluster.read_state()
    node_fix_cluster.apply(delete=True)
    after = node_fix_cluster.read_state()
    assert after["pool"] is None
    assert after["host"]["all"] == "1\n"
    assert after["host"]["lo"] == "0\n"
    assert "fd70" not in after["host"]["addresses"]
    assert "::1" in after["host"]["::1"]
    env = after["calico"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "NO_DEFAULT_POOLS", "value": "true"} in env
    assert set(node_fix_cluster.read_fix_states().values()) == {"applied"}
    node_fix_cluster.rollback()
    assert node_fix_cluster.read_state() == before
    assert before["pool"][0]["cidr"] == POOL_SPEC["cidr"]


@pytest.mark.parametrize("sent", [False, True], ids=["before sending", "after sending"])
@pytest.mark.parametrize("then", ["resume", "rollback"])
@pytest.mark.parametrize("during", ["apply", "rollback"])
def test_resumes_after_a_kill_at_every_write(
    node_fix_cluster: NodeFixCluster, during: str, then: str, sent: bool
) -> None:
    # the Lease twice; for each of eight targets its entry, the target, and the entry again
    total, done = 2 + 3 * 8, 0
    before = node_fix_cluster.read_state()
    action: Callable[[], None] = (
        node_fix_cluster.apply if during == "apply" else node_fix_cluster.rollback
    )
    for number in choose_kill_points(total):
        if during == "rollback":
            node_fix_cluster.apply()
        assert run_killed_at_write(number, sent=sent, action=action), number
        if then == "resume":
            node_fix_cluster.apply()
            assert set(node_fix_cluster.read_fix_states().values()) == {"applied"}, number
        node_fix_cluster.rollback()
        assert node_fix_cluster.read_state() == before, number
        done += 1
    if during == "rollback":
        node_fix_cluster.apply()
    assert not run_killed_at_write(total + 1, sent=sent, action=action), (
        "there are more writes than kill points"
    )
    node_fix_cluster.rollback()
    print(f"killed during {during} {'after' if sent else 'before'} sending, then {then}: {done}")


def test_agent_recovers_from_a_kill_at_every_change(node_fix_cluster: NodeFixCluster) -> None:
    """If the agent dies while it sets addresses and routes, the next one finishes."""
    host, kills = node_fix_cluster.host, 0
    before = host.read_state()
    read_request = {"do": "read", "target": DISABLE_IPV6_ALL}

    def build_request(value: bytes, snapshot: Mapping[str, Any], frame: str) -> dict[str, Any]:
        content = base64.b64encode(value).decode()
        request = {"do": "write", "target": DISABLE_IPV6_ALL, "content": content, "frame": frame}
        return {**request, "seen": snapshot["version"]}

    response = host.ask_agent(read_request)
    frame = response["frame"]
    for value, other in ((b"1\n", b"0\n"), (b"0\n", b"1\n")):
        change = 0
        while host.kill_agent_at(change, build_request(value, host.ask_agent(read_request), frame)):
            current = base64.b64decode(host.ask_agent(read_request)["content"])
            assert current in (value, other), change
            if current == b"0\n":
                assert host.read_state() == before, change
            if current == value:
                assert "content" in host.ask_agent(
                    build_request(other, host.ask_agent(read_request), frame)
                )
            change, kills = change + 1, kills + 1
    assert host.read_state() == before
    assert kills >= 12
    print(f"the agent killed at {kills} writes")


def test_reconciler_does_not_revert_a_killed_rollback(node_fix_cluster: NodeFixCluster) -> None:
    """Manual reverts are undone; what a rollback has restored stays restored."""
    before, path = (
        node_fix_cluster.read_state(),
        node_fix_cluster.host.root / "etc/cni/net.d/10-calico.conflist",
    )
    original = path.read_text()
    for number in choose_kill_points(2 + 3 * 8):
        node_fix_cluster.apply()
        assert len(node_fix_cluster.publish_desired_state()) == 4
        path.write_text(original)
        node_fix_cluster.host.run("sysctl", "-qw", f"{DISABLE_IPV6_ALL}=0")
        assert node_fix_cluster.host.reconcile_once().count("FixReverted") >= 2, number
        assert set(node_fix_cluster.read_fix_states().values()) == {"applied"}, number
        assert run_killed_at_write(number, sent=True, action=node_fix_cluster.rollback), number
        after_kill = node_fix_cluster.host.read_state()
        assert node_fix_cluster.host.reconcile_once() == "", number
        assert node_fix_cluster.host.read_state() == after_kill, number
        node_fix_cluster.rollback()
        assert node_fix_cluster.read_state() == before, number


def test_force_forgets_a_lost_node(node_fix_cluster: NodeFixCluster) -> None:
    """Only its entries are dropped; everything else is rolled back from the ledger."""
    before = node_fix_cluster.read_state()
    node_fix_cluster.apply()
    engine = node_fix_cluster.make_engine()
    driver = BareHostDriver(node_fix_cluster.targets.connect(), {})
    engine_without_node = ChangeEngine(
        node_fix_cluster.targets.connect(), load_editors(), {NodeFile: driver, NodeSysctl: driver}
    )
    entries = [
        entry
        for entry in engine_without_node.entries()
        if isinstance(entry.target, NodeFile | NodeSysctl)
    ]
    unreachable = engine_without_node.find_unreachable(
        entry.target for entry in engine_without_node.entries()
    )
    assert len(unreachable) == 4
    with pytest.raises(FixProofError, match="not rolled back on babel") as error:
        report_unreachable(
            node_fix_cluster.targets.connect(), engine_without_node, unreachable, force=False
        )
    assert "--force forgets" in error.value.next_step
    assert (
        engine_without_node.find_unreachable(
            entry.target for entry in engine_without_node.entries()
        )
        == unreachable
    )
    report_unreachable(
        node_fix_cluster.targets.connect(), engine_without_node, unreachable, force=True
    )
    with engine_without_node.hold_lease():
        for step in engine_without_node.plan_rollback(FIXES):
            engine_without_node.apply(step)
    assert engine.entries() == []
    after = node_fix_cluster.read_state()
    assert {**after, "host": {}} == {**before, "host": {}}
    for entry in entries:  # restore the host by hand
        node_fix_cluster.host.restore_entry(entry)
    assert node_fix_cluster.read_state() == before


def test_rollback_keeps_later_edits_of_a_pool(node_fix_cluster: NodeFixCluster) -> None:
    before = node_fix_cluster.read_state()["pool"][0]
    node_fix_cluster.apply()
    node_fix_cluster.edit_pool(natOutgoing=True)
    node_fix_cluster.rollback()
    assert node_fix_cluster.read_state()["pool"][0] == {**before, "natOutgoing": True}
    node_fix_cluster.edit_pool(natOutgoing=None)


def test_fixes_a_rewritten_conflist_again(node_fix_cluster: NodeFixCluster) -> None:
    before, path = (
        node_fix_cluster.read_state(),
        node_fix_cluster.host.root / "etc/cni/net.d/10-calico.conflist",
    )
    original = path.read_text()
    node_fix_cluster.apply()
    fixed = path.read_text()
    path.write_text(original)
    assert node_fix_cluster.read_fix_states()["pod-sysctl"] == "drifted"
    node_fix_cluster.apply()
    assert path.read_text() == fixed
    plugin = json.dumps({"type": "bandwidth", "capabilities": {"bandwidth": True}})
    edited = fixed.replace("\n  ]\n}", f",\n    {plugin}\n  ]\n}}")
    path.write_text(edited)
    assert node_fix_cluster.read_fix_states()["pod-sysctl"] == "applied"
    node_fix_cluster.rollback()
    assert [plugin["type"] for plugin in json.loads(path.read_text())["plugins"]] == [
        *("calico", "portmap", "bandwidth")
    ]
    path.write_text(original)
    assert node_fix_cluster.read_state() == before


def test_refuses_a_malformed_conflist_before_the_first_write(
    node_fix_cluster: NodeFixCluster,
) -> None:
    before, path = (
        node_fix_cluster.read_state(),
        node_fix_cluster.host.root / "etc/cni/net.d/10-calico.conflist",
    )
    original = path.read_text()
    path.write_text(original[:-3])
    engine = node_fix_cluster.make_engine()
    evidence = node_fix_cluster.collect_evidence(node_fix_cluster.targets.connect())
    for name in ("pod-sysctl", "ippool"):
        refusal = load_fixes()[name].plan_changes(evidence, {}, engine.applied_changes(name))
        assert isinstance(refusal, Refusal)
        assert "10-calico.conflist: line" in refusal.objects[0]
    path.write_text(original)
    assert node_fix_cluster.read_state() == before


def test_resumes_after_a_node_went_down(node_fix_cluster: NodeFixCluster) -> None:
    """The ledger keeps what was written, and the same command continues once the node is back."""
    before = node_fix_cluster.read_state()
    cluster, driver = (
        node_fix_cluster.targets.connect(),
        BareHostDriver(node_fix_cluster.targets.connect(), {"babel": node_fix_cluster.host}),
    )
    engine = ChangeEngine(cluster, load_editors(), {NodeFile: driver, NodeSysctl: driver})
    steps = engine.plan(node_fix_cluster.decide_changes(engine))
    with engine.hold_lease(), pytest.raises(ClusterError, match="babel cannot be reached"):
        for step in steps:
            if step.target == NodeFile(node="babel", path=BOOT_FILE):
                driver.lose_node("babel")
            engine.apply(step)
    assert node_fix_cluster.read_fix_states()["host-sysctl"] == "partial"
    assert engine.find_unreachable(entry.target for entry in engine.entries()) != []
    node_fix_cluster.apply()
    assert set(node_fix_cluster.read_fix_states().values()) == {"applied"}
    node_fix_cluster.rollback()
    assert node_fix_cluster.read_state() == before


def test_stops_at_a_read_only_setting(node_fix_cluster: NodeFixCluster) -> None:
    """Nothing is wrongly reported as done, and the rest can be rolled back."""
    before = node_fix_cluster.read_state()
    engine = node_fix_cluster.make_engine()
    steps = engine.plan(node_fix_cluster.decide_changes(engine))
    read_only = node_fix_cluster.host.mount_read_only("/proc/sys/net")
    with read_only, engine.hold_lease(), pytest.raises(MirrorError) as error:
        for step in steps:
            engine.apply(step)
    assert "disable_ipv6 cannot be set: Read-only file system" in str(error.value)
    assert "partial" in set(node_fix_cluster.read_fix_states().values())
    node_fix_cluster.rollback()
    assert node_fix_cluster.read_state() == before


# -- the remaining tests run in order: they move the pools to another API ------------------------


@pytest.fixture(scope="module")
def v3_cluster(node_fix_cluster: NodeFixCluster) -> NodeFixCluster:
    """Apply the fixes and move the pool to projectcalico.org/v3, as newer Calicos do."""
    node_fix_cluster.apply()
    return node_fix_cluster.move_pool_to_v3()


def test_rolls_back_a_pool_moved_to_v3(v3_cluster: NodeFixCluster) -> None:
    """The original of the v1 pool is restored in v3."""
    v3_pools.check_pool_moved_to_v3(v3_cluster)


def test_fixes_a_pool_that_only_v3_has(v3_cluster: NodeFixCluster) -> None:
    """The pool is disabled, reconciled, deleted and restored through v3."""
    v3_pools.check_v3_only(v3_cluster)


def test_refuses_to_roll_back_a_pool_with_a_finalizer(v3_cluster: NodeFixCluster) -> None:
    """Newer Calicos remove a deleted pool once its last address is released.

    Until then the pool cannot be restored.
    """
    v3_pools.check_pool_with_finalizer(v3_cluster)
