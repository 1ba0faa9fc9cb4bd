"""The keeper: what it does and tells, by the pages of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.changes import ledger
from deploy.changes.model import Applied, LedgerEntry, ObjectSpec, Target
from deploy.cluster.kinds import KINDS
from mirror.keeper.api import Refused
from mirror.keeper.event import event, writer
from mirror.keeper.keep import LEDGER, Keeper
from mirror.keeper.page import Damaged, read
from tests.unit.mirror.test_drift import BASE, COREFILE, DNS, WRITTEN

NAME = ledger.name_of(COREFILE)
PATH = "/api/v1/namespaces/kube-system/configmaps/coredns"


# -- the ledger's pages ---------------------------------------------------------------------------


def page_of(target: Target, base: bytes, written: bytes | None, **more: Any) -> Any:
    """A page as the engine writes it."""
    edits = (Applied(edit=DNS, step=1, steps=1),)
    entry = LedgerEntry(target=target, base=base, edits=edits, written=written)
    body = ledger._body(LedgerEntry(**{**_fields(entry), **more}))
    body["metadata"]["resourceVersion"] = "1"
    return body


def _fields(entry: LedgerEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_a_page_is_read_as_it_was_written() -> None:
    page = read(page_of(COREFILE, BASE, WRITTEN), PATH)
    assert page is not None
    assert (page.base, page.written, page.key, page.fixes) == (BASE, WRITTEN, "Corefile", ("dns",))


@pytest.mark.parametrize("more", [{"pending": True}, {"edits": ()}])
def test_a_page_that_is_being_written_is_passed_over(more: dict[str, Any]) -> None:
    assert read(page_of(COREFILE, BASE, WRITTEN, **more), PATH) is None


def test_an_altered_page_is_damaged() -> None:
    body = page_of(COREFILE, BASE, WRITTEN)
    body["binaryData"]["written"] = body["binaryData"]["base"]
    with pytest.raises(Damaged):
        read(body, PATH)


# -- doing ----------------------------------------------------------------------------------------


class World:
    """Objects by their paths; patches are done as the API server does them."""

    def __init__(self, **objects: Any) -> None:
        self.objects = {PATH: corefile(BASE), f"{LEDGER}/{NAME}": page_of(COREFILE, BASE, WRITTEN)}
        self.events: list[Any] = []
        self.patches: list[Any] = []
        self.refuse = 0

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def patch(self, path: str, body: Any) -> None:
        if self.refuse:
            raise Refused(self.refuse, "no")
        self.patches.append(body)
        test, change = body
        assert test["value"] == self.objects[path]["metadata"]["resourceVersion"]
        assert change["path"] == "/data/Corefile"
        self.objects[path]["data"]["Corefile"] = change["value"]

    def create(self, path: str, body: Any) -> None:
        assert path == "/api/v1/namespaces/kube-system/events"
        self.events.append(body)

    def revert(self, text: bytes = BASE) -> None:
        self.objects[PATH] = corefile(text)


def corefile(text: bytes) -> Any:
    by = [
        {"manager": "pypi-mirror", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z"},
    ]
    meta = {"name": "coredns", "uid": "u", "resourceVersion": "7", "managedFields": by}
    return {"metadata": meta, "data": {"Corefile": text.decode(), "other": "x"}}


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def keeper(world: World, clock: Clock) -> tuple[Keeper, list[str]]:
    said: list[str] = []
    return Keeper(world, {NAME: PATH}, said.append, clock), said


def test_a_reverted_fix_is_put_back_and_told() -> None:
    world = World()
    keeping, _ = keeper(world, Clock())
    keeping.look()
    assert world.objects[PATH]["data"] == {"Corefile": WRITTEN.decode(), "other": "x"}
    (told,) = world.events
    assert told["reason"] == "FixReverted"
    assert told["involvedObject"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "namespace": "kube-system",
        "name": "coredns",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert "changed back by kubectl-edit at 2026-01-02" in told["message"]
    keeping.look()
    assert len(world.events) == 1


def test_after_a_rollback_nothing_is_put_back() -> None:
    world = World()
    del world.objects[f"{LEDGER}/{NAME}"]
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert (world.patches, world.events, said) == ([], [], [])


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly() -> None:
    world, clock = World(), Clock()
    keeping, _ = keeper(world, clock)
    begun = clock.at
    while clock.at - begun < timedelta(hours=1):
        keeping.look()
        world.revert()
        clock.at += timedelta(seconds=15)
    assert 5 <= len(world.patches) <= 12


def test_what_is_unclear_is_told_once_for_each_text() -> None:
    world = World()
    keeping, _ = keeper(world, Clock())
    for text in (b"x\n", b"x\n", b"y\n"):
        world.revert(text)
        keeping.look()
    assert [one["reason"] for one in world.events] == ["FixLost"] * 2
    assert "mirror fix dns" in world.events[0]["message"]
    assert world.patches == []


def test_an_object_that_is_gone_is_told_and_not_made() -> None:
    world = World()
    del world.objects[PATH]
    keeping, _ = keeper(world, Clock())
    keeping.look()
    keeping.look()
    assert [one["message"] for one in world.events] == [
        "fix dns, key Corefile: it is gone; not put back: mirror fix dns"
    ]


def test_an_object_that_is_away_as_it_was_left_is_nothing_to_tell() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    name, path = ledger.name_of(target), "/apis/projectcalico.org/v3/ippools/six"
    world = World()
    world.objects = {f"{LEDGER}/{name}": page_of(target, b"{}", None)}
    said: list[str] = []
    keeping = Keeper(world, {name: path}, said.append, Clock())
    keeping.look()
    world.objects[path] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    keeping.look()
    assert (world.events, said) == ([], [])


def test_an_event_says_of_which_api_an_object_is() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    path = "/apis/projectcalico.org/v3/ippools/six"
    page = read(page_of(target, b"{}", b"{}"), path)
    assert page is not None
    _, told = event(page, None, "FixLost", "it is gone", Clock().at)
    about = {"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "name": "six"}
    assert told["involvedObject"] == about


def test_a_pool_of_an_older_ledger_is_the_v1_one() -> None:
    """Its page says no API, and has the name it had."""
    target = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")
    assert ledger.name_of(target) == "pypi-mirror-ledger-aa579831784b"
    assert KINDS[target.kind].api_version == "crd.projectcalico.org/v1"


@pytest.mark.parametrize("code", [409, 422, 404])
def test_somebody_who_writes_at_the_same_time_is_looked_at_again(code: int) -> None:
    world = World()
    world.refuse = code
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert (world.events, said) == ([], [])
    world.refuse = 0
    keeping.look()
    assert len(world.events) == 1


def test_what_may_not_be_done_is_said_and_the_rest_goes_on() -> None:
    world = World()
    world.refuse = 403
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert said == [f"{PATH}: 403: no"]


def test_a_damaged_page_is_said_and_nothing_is_written() -> None:
    world = World()
    world.objects[f"{LEDGER}/{NAME}"]["data"]["sha256"] = "0"
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert world.patches == []
    assert "not what was written" in said[0]


def test_nobody_else_is_nobody() -> None:
    assert writer({"metadata": {"managedFields": [{"manager": "pypi-mirror"}]}}) == ""
