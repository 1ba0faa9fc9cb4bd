"""The engine on a real API server: killed at every write, in any order, beside other writers."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial

import pytest

from deploy.changes.state import read_states
from mirror.core.errors import RefusedError
from tests.cluster.apiserver import ApiServer, run_api_server
from tests.cluster.fix_targets import (
    BASE_COREFILE,
    CHANGES,
    COREFILE,
    FIXES,
    FixTargets,
    apply_fixes,
    roll_back_fixes,
    run_killed_at_write,
)
from tests.cluster.fixtures import START_ERRORS, skip_or_fail

pytestmark = pytest.mark.cluster

ALL_FIXES = ("attach", "search-domains", "dns", "removal")
# MIRROR_ORDERS=576 for as many; 550 is one that found a fault
SEEDS = [*range(int(os.environ.get("MIRROR_ORDERS", "24"))), 550]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    try:
        with run_api_server() as up:
            yield up
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture
def world(server: ApiServer) -> FixTargets:
    made = FixTargets(server.admin)
    made.recreate()
    return made


def test_apply_and_rollback_give_back_every_byte(world: FixTargets) -> None:
    before = world.read_state()
    apply_fixes(world, *ALL_FIXES)
    after = world.read_state()
    assert "template IN AAAA" in after["corefile"]
    assert "prefer_udp" in after["corefile"]
    assert after["policy"] is None
    assert "pypi-mirror-env" in after["web"]
    assert {one.state for one in read_states(world.make_engine(), FIXES)} == {"applied"}
    apply_fixes(world, *ALL_FIXES)
    assert world.read_state() == after, "the second time nothing is written"
    roll_back_fixes(world, *ALL_FIXES)
    assert world.read_state() == before
    assert world.list_leftovers() == []


def test_the_second_time_nothing_is_written(world: FixTargets) -> None:
    apply_fixes(world, *ALL_FIXES)
    works = world.make_engine()
    assert all(step.is_noop for step in works.plan([c for f in ALL_FIXES for c in CHANGES[f]]))
    roll_back_fixes(world, *ALL_FIXES)
    assert world.make_engine().plan_rollback(ALL_FIXES) == []


@pytest.mark.parametrize("sent", [False, True], ids=["before sending", "after sending"])
@pytest.mark.parametrize("then", ["resume", "rollback"])
@pytest.mark.parametrize("during", ["apply", "rollback"])
def test_killed_at_every_write(world: FixTargets, during: str, then: str, sent: bool) -> None:
    """The points are found by counting: the last run is the one that comes to its end."""
    before = world.read_state()
    points = 0
    while True:
        if during == "rollback":
            apply_fixes(world, *ALL_FIXES)
        act = apply_fixes if during == "apply" else roll_back_fixes
        work = partial(act, world, *ALL_FIXES)
        if not run_killed_at_write(points + 1, sent=sent, action=work):
            break
        points += 1
        if then == "resume":
            apply_fixes(world, *ALL_FIXES)
            assert {one.state for one in read_states(world.make_engine(), FIXES)} == {"applied"}, (
                points
            )
        roll_back_fixes(world, *ALL_FIXES)
        assert world.read_state() == before, points
        assert world.list_leftovers() == [], points
    # the Lease twice; for each of three targets the entry, the target, the entry again
    assert points == 2 + 3 * 3


class _Somebody:
    """Edits as people make them, each with a mark of its own, and what has to be left of them."""

    def __init__(self, world: FixTargets, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.base = BASE_COREFILE
        self.marks: list[str] = []

    def adds_a_line(self) -> None:
        """After a line that is not ours, in what stands there and in what has to be left."""
        mark = f"    # somebody's {len(self.marks)}"
        words = [one for one in BASE_COREFILE.splitlines() if one.strip().strip("{}")]
        anchors = [one for one in words if "forward" not in one]
        anchor = self.dice.choice(anchors)
        for text in (self.world.read_corefile(), self.base):
            lines = text.splitlines(keepends=True)
            at = lines.index(anchor + "\n") + 1
            told = "".join([*lines[:at], mark + "\n", *lines[at:]])
            if text == self.base:
                self.base = told
            if text == self.world.read_corefile():
                self.world.write_corefile(told)
        self.marks.append(mark)

    def reverts(self) -> None:
        """Something puts back what it knows: nothing of ours is left."""
        self.world.write_corefile(self.base)

    def check(self) -> None:
        text = self.world.read_corefile()
        assert [mark for mark in self.marks if mark not in text] == []


@pytest.mark.parametrize("seed", sorted(set(SEEDS)))
def test_any_order_loses_no_edit_and_no_byte(world: FixTargets, seed: int) -> None:
    dice = random.Random(seed)
    somebody = _Somebody(world, dice)
    before = world.read_state()
    both = ("search-domains", "dns")
    for _ in range(dice.randint(4, 10)):
        fixes = dice.choice([("dns",), ("search-domains",), both, ALL_FIXES])
        act = dice.choice([apply_fixes, apply_fixes, roll_back_fixes])
        match dice.choice(["act", "act", "kill", "edit", "edit", "revert"]):
            case "act":
                act(world, *fixes)
            case "kill":
                at, sent = dice.randint(1, 12), dice.random() < 0.5
                run_killed_at_write(at, sent=sent, action=lambda a=act, f=fixes: a(world, *f))  # type: ignore[misc]
            case "edit":
                somebody.adds_a_line()
            case "revert":
                somebody.reverts()
        somebody.check()
    roll_back_fixes(world, *ALL_FIXES)
    assert world.read_corefile() == somebody.base
    assert {**world.read_state(), "corefile": ""} == {**before, "corefile": ""}
    assert world.list_leftovers() == []


def test_an_edit_inside_of_ours_stops_the_rollback(world: FixTargets) -> None:
    apply_fixes(world, "dns")
    edited = world.read_corefile().replace("rcode NOERROR", "rcode NXDOMAIN")
    world.write_corefile(edited)
    (state,) = [one for one in read_states(world.make_engine(), FIXES) if one.fix == "dns"]
    assert state.state == "drifted"
    with pytest.raises(RefusedError) as refused:
        roll_back_fixes(world, "dns")
    assert refused.value.exit_code == 5
    assert "rcode NXDOMAIN" in refused.value.why
    assert world.read_corefile() == edited
    roll_back_fixes(world, "dns", force=True)
    assert world.read_corefile() == BASE_COREFILE


def test_an_edit_between_plan_and_write_is_merged(world: FixTargets) -> None:
    works = world.make_engine()
    (step,) = works.plan(CHANGES["dns"])
    world.write_corefile(BASE_COREFILE.replace("cache 30", "cache 31"))
    with works.hold_lease():
        done = works.apply(step)
    assert done.before != step.before
    assert "cache 31" in world.read_corefile()
    assert "template IN AAAA" in world.read_corefile()
    roll_back_fixes(world, "dns")
    assert world.read_corefile() == BASE_COREFILE.replace("cache 30", "cache 31")


def test_a_workloads_later_edits_are_kept(world: FixTargets) -> None:
    before = world.read_state()["web"]
    apply_fixes(world, "attach")

    def later(spec: dict) -> None:  # type: ignore[type-arg]
        spec["replicas"] = 3
        container = spec["template"]["spec"]["containers"][0]
        container["image"] = "web:2"
        container["envFrom"].append({"secretRef": {"name": "mine"}})

    world.edit_web(later)
    (state,) = [one for one in read_states(world.make_engine(), FIXES) if one.fix == "attach"]
    assert state.state == "applied"
    roll_back_fixes(world, "attach")
    expected = before.replace('"replicas": 1', '"replicas": 3').replace("web:1", "web:2")
    expected = expected.replace(
        '"env": [{"name": "A", "value": "1"}], ',
        '"env": [{"name": "A", "value": "1"}], "envFrom": [{"secretRef": {"name": "mine"}}], ',
    )
    assert world.read_state()["web"] == expected


@pytest.mark.parametrize("what", ["base", "written", "entry.json", "sha256"])
def test_an_altered_copy_is_refused(world: FixTargets, what: str) -> None:
    apply_fixes(world, "dns")
    cluster = world.connect()
    (entry,) = [n for n in world.list_leftovers() if n != "lease"]
    found = cluster.get("ConfigMap", entry, "kube-system")
    assert found is not None
    if what in found["data"]:
        found["data"][what] = found["data"][what].replace("a", "b")
    else:
        del found["binaryData"][what]
    cluster.replace({"apiVersion": "v1", "kind": "ConfigMap", **found})
    before = world.read_corefile()
    for act in (apply_fixes, roll_back_fixes):
        with pytest.raises(RefusedError, match="damaged"):
            act(world, "dns")
    assert world.read_corefile() == before


def test_two_writers_and_one_that_was_killed(world: FixTargets) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with world.make_engine().hold_lease():
            os.write(writing, b"1")
            os.read(reading, 0)
            import time

            time.sleep(60)
        os._exit(0)
    try:
        os.read(reading, 1)
        with pytest.raises(RefusedError, match=f"pid {child}") as refused:
            apply_fixes(world, "dns")
        assert refused.value.exit_code == 5
        assert world.read_corefile() == BASE_COREFILE
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    apply_fixes(world, "dns")
    assert "template IN AAAA" in world.read_corefile()


@pytest.mark.parametrize(("age", "free"), [(5, False), (60, True)])
def test_a_lease_from_another_machine(world: FixTargets, age: int, free: bool) -> None:
    from datetime import UTC, datetime, timedelta

    then = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "eve@elsewhere pid 1 start x", "leaseDurationSeconds": 15}
    spec |= {"acquireTime": then, "renewTime": then}
    meta = {"name": "pypi-mirror-changes", "namespace": "kube-system"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
    world.connect().create({**lease, "spec": spec})
    if free:
        apply_fixes(world, "dns")
        assert world.list_leftovers() != []
    else:
        with pytest.raises(RefusedError, match="eve@elsewhere"):
            apply_fixes(world, "dns")


def test_the_ledger_can_be_read_without_this_program(world: FixTargets, server: ApiServer) -> None:
    import base64

    apply_fixes(world, "dns")
    (name,) = [n for n in world.list_leftovers() if n != "lease"]
    told = server.kubectl(
        *("-n", "kube-system", "get", "configmap", name, "-o", "jsonpath={.binaryData.base}")
    )
    assert base64.b64decode(told).decode() == BASE_COREFILE
    assert str(COREFILE) in server.kubectl(
        "-n", "kube-system", "get", "configmap", name, "-o", "yaml"
    )
