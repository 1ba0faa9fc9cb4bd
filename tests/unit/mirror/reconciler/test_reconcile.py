"""The reconciler in the cluster: what it reads of the ledger, restores and reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.changes import ledger
from deploy.changes.model import AppliedEdit, LedgerEntry, ObjectSpec, Target
from deploy.cluster.api_resources import API_RESOURCES
from mirror.ledger import DamagedEntryError
from mirror.reconciler.api import ApiStatusError
from mirror.reconciler.entry import parse_entry
from mirror.reconciler.events import build_event, describe_last_writer
from mirror.reconciler.reconcile import LEDGER_PATH, ObjectReconciler
from tests.unit.mirror.test_drift import BASE, COREFILE, DNS, WRITTEN

NAME = ledger.config_map_name(COREFILE)
PATH = "/api/v1/namespaces/kube-system/configmaps/coredns"


# -- ledger entries -------------------------------------------------------------------------------


def ledger_object(target: Target, base: bytes, written: bytes | None, **fields: Any) -> Any:
    """Return the ConfigMap that the change engine writes for an entry."""
    edits = (AppliedEdit(edit=DNS, step=1, steps=1),)
    fields = {"edits": edits, **fields}
    entry = LedgerEntry(target=target, base=base, written=written, **fields)
    body = ledger._encode(entry)
    body["metadata"]["resourceVersion"] = "1"
    return body


def test_reads_an_entry_as_it_was_written() -> None:
    entry = parse_entry(ledger_object(COREFILE, BASE, WRITTEN), PATH)
    assert entry is not None
    assert (entry.base, entry.written) == (BASE, WRITTEN)
    assert (entry.key, entry.fixes) == ("Corefile", ("dns",))


@pytest.mark.parametrize("fields", [{"pending": True}, {"edits": ()}])
def test_ignores_an_entry_that_is_being_written(fields: dict[str, Any]) -> None:
    assert parse_entry(ledger_object(COREFILE, BASE, WRITTEN, **fields), PATH) is None


def test_rejects_an_altered_entry() -> None:
    body = ledger_object(COREFILE, BASE, WRITTEN)
    body["binaryData"]["written"] = body["binaryData"]["base"]
    with pytest.raises(DamagedEntryError):
        parse_entry(body, PATH)


# -- reconciling ----------------------------------------------------------------------------------


class FakeObjectApi:
    """Objects by API path. Checks and applies patches as the API server does."""

    def __init__(self) -> None:
        self.objects = {
            PATH: corefile_object(BASE),
            f"{LEDGER_PATH}/{NAME}": ledger_object(COREFILE, BASE, WRITTEN),
        }
        self.events: list[Any] = []
        self.patches: list[Any] = []
        self.patch_status = 0  # respond to patches with this HTTP error

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def patch(self, path: str, body: Any) -> None:
        if self.patch_status:
            raise ApiStatusError(self.patch_status, "no")
        self.patches.append(body)
        test, change = body
        assert test["value"] == self.objects[path]["metadata"]["resourceVersion"]
        assert change["path"] == "/data/Corefile"
        self.objects[path]["data"]["Corefile"] = change["value"]

    def create(self, path: str, body: Any) -> None:
        assert path == "/api/v1/namespaces/kube-system/events"
        self.events.append(body)

    def write_corefile(self, text: bytes = BASE) -> None:
        self.objects[PATH] = corefile_object(text)


def corefile_object(text: bytes) -> Any:
    managers = [
        {"manager": "pypi-mirror", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z"},
    ]
    metadata = {"name": "coredns", "uid": "u", "resourceVersion": "7", "managedFields": managers}
    return {"metadata": metadata, "data": {"Corefile": text.decode(), "other": "x"}}


class ManualClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def make_reconciler(
    api: FakeObjectApi, clock: ManualClock | None = None
) -> tuple[ObjectReconciler, list[str]]:
    """Return a reconciler of the Corefile, and the lines of its log."""
    log: list[str] = []
    return ObjectReconciler(api, {NAME: PATH}, log.append, clock or ManualClock()), log


def test_restores_a_reverted_fix_and_reports_it() -> None:
    api = FakeObjectApi()
    reconciler, _ = make_reconciler(api)
    reconciler.reconcile()
    assert api.objects[PATH]["data"] == {"Corefile": WRITTEN.decode(), "other": "x"}
    (event,) = api.events
    assert event["reason"] == "FixReverted"
    assert event["involvedObject"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "namespace": "kube-system",
        "name": "coredns",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert "reverted by kubectl-edit at 2026-01-02" in event["message"]
    reconciler.reconcile()
    assert len(api.events) == 1


def test_restores_nothing_after_a_rollback() -> None:
    api = FakeObjectApi()
    del api.objects[f"{LEDGER_PATH}/{NAME}"]
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert (api.patches, api.events, log) == ([], [], [])


def test_backs_off_while_something_keeps_reverting_a_fix() -> None:
    api, clock = FakeObjectApi(), ManualClock()
    reconciler, _ = make_reconciler(api, clock)
    start = clock.time
    while clock.time - start < timedelta(hours=1):
        reconciler.reconcile()
        api.write_corefile()
        clock.time += timedelta(seconds=15)
    assert 5 <= len(api.patches) <= 12


def test_reports_an_unclear_case_once_for_each_text() -> None:
    api = FakeObjectApi()
    reconciler, _ = make_reconciler(api)
    for text in (b"x\n", b"x\n", b"y\n"):
        api.write_corefile(text)
        reconciler.reconcile()
    assert [event["reason"] for event in api.events] == ["FixLost"] * 2
    assert "mirror fix dns" in api.events[0]["message"]
    assert api.patches == []


def test_reports_a_deleted_object_and_does_not_create_it() -> None:
    api = FakeObjectApi()
    del api.objects[PATH]
    reconciler, _ = make_reconciler(api)
    reconciler.reconcile()
    reconciler.reconcile()
    assert [event["message"] for event in api.events] == [
        "fix dns, key Corefile: it is gone; not restored: run mirror fix dns"
    ]


def test_reports_nothing_about_an_object_that_the_fix_deleted() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    name, path = ledger.config_map_name(target), "/apis/projectcalico.org/v3/ippools/six"
    api = FakeObjectApi()
    api.objects = {f"{LEDGER_PATH}/{name}": ledger_object(target, b"{}", None)}
    log: list[str] = []
    reconciler = ObjectReconciler(api, {name: path}, log.append, ManualClock())
    reconciler.reconcile()
    api.objects[path] = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    reconciler.reconcile()
    assert (api.events, log) == ([], [])


def test_an_event_names_the_api_version_of_its_object() -> None:
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    path = "/apis/projectcalico.org/v3/ippools/six"
    entry = parse_entry(ledger_object(target, b"{}", b"{}"), path)
    assert entry is not None
    _, event = build_event(entry, None, "FixLost", "it is gone", ManualClock().time)
    involved = {"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "name": "six"}
    assert event["involvedObject"] == involved


def test_a_pool_in_an_old_ledger_has_the_v1_api() -> None:
    """Its entry names no API group, and its ConfigMap still has the same name."""
    target = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")
    assert ledger.config_map_name(target) == "pypi-mirror-ledger-aa579831784b"
    assert API_RESOURCES[target.kind].api_version == "crd.projectcalico.org/v1"


@pytest.mark.parametrize("status", [409, 422, 404])
def test_tries_again_after_a_write_conflict(status: int) -> None:
    api = FakeObjectApi()
    api.patch_status = status
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert (api.events, log) == ([], [])
    api.patch_status = 0
    reconciler.reconcile()
    assert len(api.events) == 1


def test_logs_a_forbidden_write() -> None:
    api = FakeObjectApi()
    api.patch_status = 403
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert log == [f"{PATH}: 403: no"]


def test_logs_a_damaged_entry_and_writes_nothing() -> None:
    api = FakeObjectApi()
    api.objects[f"{LEDGER_PATH}/{NAME}"]["data"]["sha256"] = "0"
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert api.patches == []
    assert "not what was written" in log[0]


def test_names_no_writer_if_nobody_else_wrote() -> None:
    obj = {"metadata": {"managedFields": [{"manager": "pypi-mirror"}]}}
    assert describe_last_writer(obj) == ""
