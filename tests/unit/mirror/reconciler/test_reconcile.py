"""The keeper: what it does and tells, by the pages of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.changes import ledger
from deploy.changes.model import AppliedEdit, LedgerEntry, ObjectSpec, Target
from deploy.cluster.api_resources import API_RESOURCES
from mirror.reconciler.api import ApiStatusError
from mirror.reconciler.entry import DamagedEntryError, parse_entry
from mirror.reconciler.events import build_event, describe_last_writer
from mirror.reconciler.reconcile import LEDGER_PATH, ObjectReconciler
from tests.unit.mirror.test_drift import BASE, COREFILE, DNS, WRITTEN

NAME = ledger.config_map_name(COREFILE)
PATH = "/api/v1/namespaces/kube-system/configmaps/coredns"


# -- the ledger's pages ---------------------------------------------------------------------------


def ledger_object(target: Target, base: bytes, written: bytes | None, **more: Any) -> Any:
    """A page as the engine writes it."""
    edits = (AppliedEdit(edit=DNS, step=1, steps=1),)
    entry = LedgerEntry(target=target, base=base, edits=edits, written=written)
    body = ledger._body(LedgerEntry(**{**_fields(entry), **more}))
    body["metadata"]["resourceVersion"] = "1"
    return body


def _fields(entry: LedgerEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_a_page_is_read_as_it_was_written() -> None:
    page = parse_entry(ledger_object(COREFILE, BASE, WRITTEN), PATH)
    assert page is not None
    assert (page.base, page.written, page.key, page.fixes) == (BASE, WRITTEN, "Corefile", ("dns",))


@pytest.mark.parametrize("more", [{"pending": True}, {"edits": ()}])
def test_a_page_that_is_being_written_is_passed_over(more: dict[str, Any]) -> None:
    assert parse_entry(ledger_object(COREFILE, BASE, WRITTEN, **more), PATH) is None


def test_an_altered_page_is_damaged() -> None:
    body = ledger_object(COREFILE, BASE, WRITTEN)
    body["binaryData"]["written"] = body["binaryData"]["base"]
    with pytest.raises(DamagedEntryError):
        parse_entry(body, PATH)


# -- doing ----------------------------------------------------------------------------------------


class FakeObjectApi:
    """Objects by their paths; patches are done as the API server does them."""

    def __init__(self, **objects: Any) -> None:
        self.objects = {
            PATH: corefile_object(BASE),
            f"{LEDGER_PATH}/{NAME}": ledger_object(COREFILE, BASE, WRITTEN),
        }
        self.events: list[Any] = []
        self.patches: list[Any] = []
        self.refuse = 0

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def patch(self, path: str, body: Any) -> None:
        if self.refuse:
            raise ApiStatusError(self.refuse, "no")
        self.patches.append(body)
        test, change = body
        assert test["value"] == self.objects[path]["metadata"]["resourceVersion"]
        assert change["path"] == "/data/Corefile"
        self.objects[path]["data"]["Corefile"] = change["value"]

    def create(self, path: str, body: Any) -> None:
        assert path == "/api/v1/namespaces/kube-system/events"
        self.events.append(body)

    def revert(self, text: bytes = BASE) -> None:
        self.objects[PATH] = corefile_object(text)


def corefile_object(text: bytes) -> Any:
    by = [
        {"manager": "pypi-mirror", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z"},
    ]
    meta = {"name": "coredns", "uid": "u", "resourceVersion": "7", "managedFields": by}
    return {"metadata": meta, "data": {"Corefile": text.decode(), "other": "x"}}


class ManualClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def make_reconciler(world: FakeObjectApi, clock: ManualClock) -> tuple[ObjectReconciler, list[str]]:
    said: list[str] = []
    return ObjectReconciler(world, {NAME: PATH}, said.append, clock), said


def test_a_reverted_fix_is_put_back_and_told() -> None:
    world = FakeObjectApi()
    keeping, _ = make_reconciler(world, ManualClock())
    keeping.reconcile()
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
    keeping.reconcile()
    assert len(world.events) == 1


def test_after_a_rollback_nothing_is_put_back() -> None:
    world = FakeObjectApi()
    del world.objects[f"{LEDGER_PATH}/{NAME}"]
    keeping, said = make_reconciler(world, ManualClock())
    keeping.reconcile()
    assert (world.patches, world.events, said) == ([], [], [])


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly() -> None:
    world, clock = FakeObjectApi(), ManualClock()
    keeping, _ = make_reconciler(world, clock)
    begun = clock.at
    while clock.at - begun < timedelta(hours=1):
        keeping.reconcile()
        world.revert()
        clock.at += timedelta(seconds=15)
    assert 5 <= len(world.patches) <= 12


def test_what_is_unclear_is_told_once_for_each_text() -> None:
    world = FakeObjectApi()
    keeping, _ = make_reconciler(world, ManualClock())
    for text in (b"x\n", b"x\n", b"y\n"):
        world.revert(text)
        keeping.reconcile()
    assert [one["reason"] for one in world.events] == ["FixLost"] * 2
    assert "mirror fix dns" in world.events[0]["message"]
    assert world.patches == []


def test_an_object_that_is_gone_is_told_and_not_made() -> None:
    world = FakeObjectApi()
    del world.objects[PATH]
    keeping, _ = make_reconciler(world, ManualClock())
    keeping.reconcile()
    keeping.reconcile()
    assert [one["message"] for one in world.events] == [
        "fix dns, key Corefile: it is gone; not put back: mirror fix dns"
    ]


def test_an_object_that_is_away_as_it_was_left_is_nothing_to_tell() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    name, path = ledger.config_map_name(target), "/apis/projectcalico.org/v3/ippools/six"
    world = FakeObjectApi()
    world.objects = {f"{LEDGER_PATH}/{name}": ledger_object(target, b"{}", None)}
    said: list[str] = []
    keeping = ObjectReconciler(world, {name: path}, said.append, ManualClock())
    keeping.reconcile()
    world.objects[path] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    keeping.reconcile()
    assert (world.events, said) == ([], [])


def test_an_event_says_of_which_api_an_object_is() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    path = "/apis/projectcalico.org/v3/ippools/six"
    page = parse_entry(ledger_object(target, b"{}", b"{}"), path)
    assert page is not None
    _, told = build_event(page, None, "FixLost", "it is gone", ManualClock().at)
    about = {"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "name": "six"}
    assert told["involvedObject"] == about


def test_a_pool_of_an_older_ledger_is_the_v1_one() -> None:
    """Its page says no API, and has the name it had."""
    target = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")
    assert ledger.config_map_name(target) == "pypi-mirror-ledger-aa579831784b"
    assert API_RESOURCES[target.kind].api_version == "crd.projectcalico.org/v1"


@pytest.mark.parametrize("code", [409, 422, 404])
def test_somebody_who_writes_at_the_same_time_is_looked_at_again(code: int) -> None:
    world = FakeObjectApi()
    world.refuse = code
    keeping, said = make_reconciler(world, ManualClock())
    keeping.reconcile()
    assert (world.events, said) == ([], [])
    world.refuse = 0
    keeping.reconcile()
    assert len(world.events) == 1


def test_what_may_not_be_done_is_said_and_the_rest_goes_on() -> None:
    world = FakeObjectApi()
    world.refuse = 403
    keeping, said = make_reconciler(world, ManualClock())
    keeping.reconcile()
    assert said == [f"{PATH}: 403: no"]


def test_a_damaged_page_is_said_and_nothing_is_written() -> None:
    world = FakeObjectApi()
    world.objects[f"{LEDGER_PATH}/{NAME}"]["data"]["sha256"] = "0"
    keeping, said = make_reconciler(world, ManualClock())
    keeping.reconcile()
    assert world.patches == []
    assert "not what was written" in said[0]


def test_nobody_else_is_nobody() -> None:
    assert describe_last_writer({"metadata": {"managedFields": [{"manager": "pypi-mirror"}]}}) == ""
