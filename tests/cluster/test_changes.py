"""The engine on a real API server: killed at every write, in any order, beside other writers."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from deploy.changes.states import states
from mirror.core.errors import RefusedError
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.changing import (
    BASE,
    CHANGES,
    COREFILE,
    FIXES,
    World,
    apply,
    killed_at,
    rollback,
)
from tests.cluster.fixtures import CANNOT_START, give_up

pytestmark = pytest.mark.cluster

ALL = ("attach", "search-domains", "dns", "removal")
# MIRROR_ORDERS=576 for as many; 550 is one that found a fault
SEEDS = [*range(int(os.environ.get("MIRROR_ORDERS", "24"))), 550]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    try:
        with api_server() as up:
            yield up
    except CANNOT_START as error:
        give_up(error)


@pytest.fixture
def world(server: ApiServer) -> World:
    made = World(server.admin)
    made.make()
    return made


def test_apply_and_rollback_give_back_every_byte(world: World) -> None:
    before = world.state()
    apply(world, *ALL)
    after = world.state()
    assert "template IN AAAA" in after["corefile"]
    assert "prefer_udp" in after["corefile"]
    assert after["policy"] is None
    assert "pypi-mirror-env" in after["web"]
    assert {one.state for one in states(world.engine(), FIXES)} == {"applied"}
    apply(world, *ALL)
    assert world.state() == after, "the second time nothing is written"
    rollback(world, *ALL)
    assert world.state() == before
    assert world.left() == []


def test_the_second_time_nothing_is_written(world: World) -> None:
    apply(world, *ALL)
    works = world.engine()
    assert all(step.idle for step in works.plan([c for f in ALL for c in CHANGES[f]]))
    rollback(world, *ALL)
    assert world.engine().plan_rollback(ALL) == []


@pytest.mark.parametrize("sent", [False, True], ids=["before sending", "after sending"])
@pytest.mark.parametrize("then", ["resume", "rollback"])
@pytest.mark.parametrize("during", ["apply", "rollback"])
def test_killed_at_every_write(world: World, during: str, then: str, sent: bool) -> None:
    """The points are found by counting: the last run is the one that comes to its end."""
    before = world.state()
    points = 0
    while True:
        if during == "rollback":
            apply(world, *ALL)
        act = apply if during == "apply" else rollback
        if not killed_at(points + 1, sent=sent, what=lambda act=act: act(world, *ALL)):  # type: ignore[misc]
            break
        points += 1
        if then == "resume":
            apply(world, *ALL)
            assert {one.state for one in states(world.engine(), FIXES)} == {"applied"}, points
        rollback(world, *ALL)
        assert world.state() == before, points
        assert world.left() == [], points
    # the Lease twice; for each of three targets the entry, the target, the entry again
    assert points == 2 + 3 * 3


class _Somebody:
    """Edits as people make them, each with a mark of its own, and what has to be left of them."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.base = BASE
        self.marks: list[str] = []

    def adds_a_line(self) -> None:
        """After a line that is not ours, in what stands there and in what has to be left."""
        mark = f"    # somebody's {len(self.marks)}"
        words = [one for one in BASE.splitlines() if one.strip().strip("{}")]
        anchors = [one for one in words if "forward" not in one]
        anchor = self.dice.choice(anchors)
        for text in (self.world.corefile(), self.base):
            lines = text.splitlines(keepends=True)
            at = lines.index(anchor + "\n") + 1
            told = "".join([*lines[:at], mark + "\n", *lines[at:]])
            if text == self.base:
                self.base = told
            if text == self.world.corefile():
                self.world.write_corefile(told)
        self.marks.append(mark)

    def reverts(self) -> None:
        """Something puts back what it knows: nothing of ours is left."""
        self.world.write_corefile(self.base)

    def check(self) -> None:
        text = self.world.corefile()
        assert [mark for mark in self.marks if mark not in text] == []


@pytest.mark.parametrize("seed", sorted(set(SEEDS)))
def test_any_order_loses_no_edit_and_no_byte(world: World, seed: int) -> None:
    dice = random.Random(seed)
    somebody = _Somebody(world, dice)
    before = world.state()
    both = ("search-domains", "dns")
    for _ in range(dice.randint(4, 10)):
        fixes = dice.choice([("dns",), ("search-domains",), both, ALL])
        act = dice.choice([apply, apply, rollback])
        match dice.choice(["act", "act", "kill", "edit", "edit", "revert"]):
            case "act":
                act(world, *fixes)
            case "kill":
                at, sent = dice.randint(1, 12), dice.random() < 0.5
                killed_at(at, sent=sent, what=lambda a=act, f=fixes: a(world, *f))  # type: ignore[misc]
            case "edit":
                somebody.adds_a_line()
            case "revert":
                somebody.reverts()
        somebody.check()
    rollback(world, *ALL)
    assert world.corefile() == somebody.base
    assert {**world.state(), "corefile": ""} == {**before, "corefile": ""}
    assert world.left() == []


def test_an_edit_inside_of_ours_stops_the_rollback(world: World) -> None:
    apply(world, "dns")
    edited = world.corefile().replace("rcode NOERROR", "rcode NXDOMAIN")
    world.write_corefile(edited)
    (state,) = [one for one in states(world.engine(), FIXES) if one.fix == "dns"]
    assert state.state == "drifted"
    with pytest.raises(RefusedError) as refused:
        rollback(world, "dns")
    assert refused.value.exit_code == 5
    assert "rcode NXDOMAIN" in refused.value.why
    assert world.corefile() == edited
    rollback(world, "dns", force=True)
    assert world.corefile() == BASE


def test_an_edit_between_plan_and_write_is_merged(world: World) -> None:
    works = world.engine()
    (step,) = works.plan(CHANGES["dns"])
    world.write_corefile(BASE.replace("cache 30", "cache 31"))
    with works.only_writer():
        done = works.do(step)
    assert done.before != step.before
    assert "cache 31" in world.corefile()
    assert "template IN AAAA" in world.corefile()
    rollback(world, "dns")
    assert world.corefile() == BASE.replace("cache 30", "cache 31")


def test_a_workloads_later_edits_are_kept(world: World) -> None:
    before = world.state()["web"]
    apply(world, "attach")

    def later(spec: dict) -> None:  # type: ignore[type-arg]
        spec["replicas"] = 3
        container = spec["template"]["spec"]["containers"][0]
        container["image"] = "web:2"
        container["envFrom"].append({"secretRef": {"name": "mine"}})

    world.edit_web(later)
    (state,) = [one for one in states(world.engine(), FIXES) if one.fix == "attach"]
    assert state.state == "applied"
    rollback(world, "attach")
    expected = before.replace('"replicas": 1', '"replicas": 3').replace("web:1", "web:2")
    expected = expected.replace(
        '"env": [{"name": "A", "value": "1"}], ',
        '"env": [{"name": "A", "value": "1"}], "envFrom": [{"secretRef": {"name": "mine"}}], ',
    )
    assert world.state()["web"] == expected


@pytest.mark.parametrize("what", ["base", "written", "entry.json", "sha256"])
def test_an_altered_copy_is_refused(world: World, what: str) -> None:
    apply(world, "dns")
    cluster = world.cluster()
    (entry,) = [n for n in world.left() if n != "lease"]
    found = cluster.get("ConfigMap", entry, "kube-system")
    assert found is not None
    if what in found["data"]:
        found["data"][what] = found["data"][what].replace("a", "b")
    else:
        del found["binaryData"][what]
    cluster.replace({"apiVersion": "v1", "kind": "ConfigMap", **found})
    before = world.corefile()
    for act in (apply, rollback):
        with pytest.raises(RefusedError, match="damaged"):
            act(world, "dns")
    assert world.corefile() == before


def test_two_writers_and_one_that_was_killed(world: World) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with world.engine().only_writer():
            os.write(writing, b"1")
            os.read(reading, 0)
            import time

            time.sleep(60)
        os._exit(0)
    try:
        os.read(reading, 1)
        with pytest.raises(RefusedError, match=f"pid {child}") as refused:
            apply(world, "dns")
        assert refused.value.exit_code == 5
        assert world.corefile() == BASE
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    apply(world, "dns")
    assert "template IN AAAA" in world.corefile()


@pytest.mark.parametrize(("age", "free"), [(5, False), (60, True)])
def test_a_lease_from_another_machine(world: World, age: int, free: bool) -> None:
    from datetime import UTC, datetime, timedelta

    then = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "eve@elsewhere pid 1 start x", "leaseDurationSeconds": 15}
    spec |= {"acquireTime": then, "renewTime": then}
    meta = {"name": "pypi-mirror-changes", "namespace": "kube-system"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
    world.cluster().create({**lease, "spec": spec})
    if free:
        apply(world, "dns")
        assert world.left() != []
    else:
        with pytest.raises(RefusedError, match="eve@elsewhere"):
            apply(world, "dns")


def test_the_ledger_can_be_read_without_this_program(world: World, server: ApiServer) -> None:
    import base64

    apply(world, "dns")
    (name,) = [n for n in world.left() if n != "lease"]
    told = server.kubectl(
        *("-n", "kube-system", "get", "configmap", name, "-o", "jsonpath={.binaryData.base}")
    )
    assert base64.b64decode(told).decode() == BASE
    assert str(COREFILE) in server.kubectl(
        "-n", "kube-system", "get", "configmap", name, "-o", "yaml"
    )
