"""The reconciler in the cluster: what it reads of the ledger, restores and reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.changes import ledger
from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    ObjectSpec,
    Target,
)
from deploy.cluster.api_resources import API_RESOURCES
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair.reconciler import select_objects
from mirror.ledger import DamagedEntryError
from mirror.merge import encode_spec
from mirror.reconciler.api import ApiStatusError, InClusterClient
from mirror.reconciler.entry import parse_entry
from mirror.reconciler.events import build_event, describe_last_writer
from mirror.reconciler.reconcile import LEDGER_PATH, ObjectReconciler
from tests.kubernetes_api import (
    CALICO_V3,
    DirectCluster,
    DirectInClusterClient,
    KilledError,
    MemoryApi,
    Rule,
    on,
    serve_api,
)
from tests.kubernetes_api.failures import When
from tests.unit.mirror.test_drift import BASE, COREFILE, DNS, WRITTEN

NAME = ledger.config_map_name(COREFILE)
PATH = "/api/v1/namespaces/kube-system/configmaps/coredns"
EVENTS = "/api/v1/namespaces/kube-system/events"


# -- ledger entries -------------------------------------------------------------------------------


def ledger_object(target: Target, base: bytes, written: bytes | None, **fields: Any) -> Any:
    """Return the ConfigMap that the change engine writes for an entry."""
    edits = (AppliedEdit(edit=DNS, step=1, steps=1),)
    fields = {"edits": edits, **fields}
    entry = LedgerEntry(target=target, base=base, written=written, **fields)
    return ledger._encode(entry)


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


@pytest.fixture
def api() -> MemoryApi:
    """Provide an API in which something reverted the Corefile, and the reconciler's objects."""
    api = MemoryApi()
    api.now = lambda: datetime(2026, 1, 1, tzinfo=UTC)
    for obj in render_reconciler_objects("mirror:1", select_objects([make_entry()])):
        DirectCluster(api).apply(obj)
    DirectCluster(api).create(ledger_object(COREFILE, BASE, WRITTEN))
    metadata = {"name": "coredns", "namespace": "kube-system"}
    data = {"Corefile": WRITTEN.decode(), "other": "x"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    DirectCluster(api).create(config_map)
    api.now = lambda: datetime(2026, 1, 2, tzinfo=UTC)
    write_corefile(api)
    api.requests.clear()
    return api


def make_entry() -> LedgerEntry:
    edits = (AppliedEdit(edit=DNS, step=1, steps=1),)
    return LedgerEntry(target=COREFILE, base=BASE, written=WRITTEN, edits=edits)


def write_corefile(api: MemoryApi, text: bytes = BASE) -> None:
    """Write the Corefile as `kubectl edit` does."""

    def write(obj: Any) -> None:
        obj["data"]["Corefile"] = text.decode()

    api.edit("ConfigMap", "coredns", "kube-system", write, manager="kubectl-edit")


def read_corefile(api: MemoryApi) -> bytes:
    return str(api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"]).encode()


def list_events(api: MemoryApi) -> list[Any]:
    """Return the events in the order of their creation."""
    events = api.list_objects("Event")
    return sorted(events, key=lambda event: int(event["metadata"]["resourceVersion"]))


class ManualClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


def make_reconciler(
    api: MemoryApi, clock: ManualClock | None = None
) -> tuple[ObjectReconciler, list[str]]:
    """Return a reconciler of the Corefile with the rights of its account, and its log."""
    log: list[str] = []
    account = api.add_service_account("kube-system", "pypi-mirror-keeper")
    client = DirectInClusterClient(api, account)
    return ObjectReconciler(client, {NAME: PATH}, log.append, clock or ManualClock()), log


def test_restores_a_reverted_fix_and_reports_it(api: MemoryApi) -> None:
    reverted = api.read("ConfigMap", "coredns", "kube-system")["metadata"]
    reconciler, _ = make_reconciler(api)
    reconciler.reconcile()
    data = api.read("ConfigMap", "coredns", "kube-system")["data"]
    assert data == {"Corefile": WRITTEN.decode(), "other": "x"}
    (event,) = list_events(api)
    assert event["reason"] == "FixReverted"
    assert event["involvedObject"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "namespace": "kube-system",
        "name": "coredns",
        "uid": reverted["uid"],
        "resourceVersion": reverted["resourceVersion"],
    }
    assert "reverted by kubectl-edit at 2026-01-02" in event["message"]
    assert api.list_writes() == [f"PATCH {PATH}", f"POST {EVENTS}"]
    reconciler.reconcile()
    assert len(api.list_writes()) == 2


def test_restores_it_over_http(api: MemoryApi, tmp_path: Path) -> None:
    account = api.add_service_account("kube-system", "pypi-mirror-keeper")
    log: list[str] = []
    with serve_api(api) as served:
        client = InClusterClient(served.url, served.write_account(tmp_path, account))
        ObjectReconciler(client, {NAME: PATH}, log.append).reconcile()
        assert read_corefile(api) == WRITTEN
        with pytest.raises(ApiStatusError, match=r'^403: secrets "x" is forbidden') as error:
            client.get("/api/v1/namespaces/kube-system/secrets/x")
        assert error.value.status == 403
        with pytest.raises(ApiStatusError, match=r"^403: nodes is forbidden"):
            client.get("/api/v1/nodes")
    managers = api.read("ConfigMap", "coredns", "kube-system")["metadata"]["managedFields"]
    assert "pypi-mirror-keeper" in {entry["manager"] for entry in managers}


def test_restores_a_key_whose_name_needs_escapes(api: MemoryApi) -> None:
    target = ConfigMapKey(namespace="kube-system", name="coredns", key="a/b~1c")
    entry = parse_entry(ledger_object(target, BASE, WRITTEN), PATH)
    assert entry is not None
    client = DirectInClusterClient(api)
    client.patch(PATH, entry.build_patch(client.get(PATH), b"text"))
    assert api.read("ConfigMap", "coredns", "kube-system")["data"]["a/b~1c"] == "text"


def test_restores_the_only_key_of_a_config_map(api: MemoryApi) -> None:
    api.edit("ConfigMap", "coredns", "kube-system", lambda obj: obj.pop("data"))
    entry = parse_entry(ledger_object(COREFILE, BASE, WRITTEN), PATH)
    assert entry is not None
    client = DirectInClusterClient(api)
    client.patch(PATH, entry.build_patch(client.get(PATH), b"text"))
    assert api.read("ConfigMap", "coredns", "kube-system")["data"] == {"Corefile": "text"}


def test_restores_nothing_after_a_rollback(api: MemoryApi) -> None:
    api.remove("ConfigMap", NAME, "kube-system")
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert (api.list_writes(), log) == ([], [])


def test_a_rollback_while_it_reads_wins(api: MemoryApi) -> None:
    """The object is read before its entry, which is gone when the rollback has finished."""

    def roll_back(_: object) -> None:
        write_corefile(api)
        api.remove("ConfigMap", NAME, "kube-system")

    write_corefile(api, WRITTEN)
    api.failures.run(on("GET", PATH), roll_back, "after")
    reconciler, _ = make_reconciler(api)
    reconciler.reconcile()
    assert api.list_writes() == []


@pytest.mark.parametrize("theirs", [b"theirs\n", BASE.replace(b"cache 30", b"cache 60")])
def test_does_not_overwrite_an_edit_between_reading_and_writing(
    api: MemoryApi, theirs: bytes
) -> None:
    reconciler, log = make_reconciler(api)
    api.failures.run(on("PATCH", PATH), lambda _: write_corefile(api, theirs))
    reconciler.reconcile()
    assert read_corefile(api) == theirs
    assert (list_events(api), log) == ([], [])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_another_one_continues_after_a_kill(api: MemoryApi, number: int, when: When) -> None:
    api.failures.kill_at_write(number, when)
    with pytest.raises(KilledError):
        make_reconciler(api)[0].reconcile()
    api.failures.revive()
    make_reconciler(api)[0].reconcile()
    assert read_corefile(api) == WRITTEN
    assert len(list_events(api)) <= 1


def test_backs_off_while_something_keeps_reverting_a_fix(api: MemoryApi) -> None:
    clock = ManualClock()
    reconciler, _ = make_reconciler(api, clock)
    start = clock.time
    while clock.time - start < timedelta(hours=1):
        reconciler.reconcile()
        write_corefile(api)
        clock.time += timedelta(seconds=15)
    assert 5 <= api.list_writes().count(f"PATCH {PATH}") <= 12


def test_reports_an_unclear_case_once_for_each_text(api: MemoryApi) -> None:
    reconciler, _ = make_reconciler(api)
    for text in (b"x\n", b"x\n", b"y\n"):
        write_corefile(api, text)
        reconciler.reconcile()
    events = list_events(api)
    assert [event["reason"] for event in events] == ["FixLost"] * 2
    assert "mirror fix dns" in events[0]["message"]
    assert api.list_writes() == [f"POST {EVENTS}"] * 2


def test_reports_a_deleted_object_and_does_not_create_it(api: MemoryApi) -> None:
    api.remove("ConfigMap", "coredns", "kube-system")
    reconciler, _ = make_reconciler(api)
    reconciler.reconcile()
    reconciler.reconcile()
    assert [event["message"] for event in list_events(api)] == [
        "fix dns, key Corefile: it is gone; not restored: run mirror fix dns"
    ]
    assert not api.has("ConfigMap", "coredns", "kube-system")


def test_reports_nothing_about_an_object_that_the_fix_deleted(api: MemoryApi) -> None:
    api.serve(*CALICO_V3)
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    name, path = ledger.config_map_name(target), "/apis/projectcalico.org/v3/ippools/six"
    DirectCluster(api).create(ledger_object(target, b"{}", None))
    log: list[str] = []
    client = DirectInClusterClient(api)
    reconciler = ObjectReconciler(client, {name: path}, log.append, ManualClock())
    api.requests.clear()
    reconciler.reconcile()
    metadata = {"name": "six", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    api.seed({"kind": "IPPool", "metadata": metadata, "spec": {}})
    reconciler.reconcile()
    assert (api.list_writes(), log) == ([], [])


def test_restores_the_spec_of_an_object(api: MemoryApi) -> None:
    api.serve(*CALICO_V3)
    target = ObjectSpec(kind="IPPool.projectcalico.org", name="six")
    base, fixed = ({"cidr": "fd00::/64", "disabled": value} for value in (False, True))
    edits = (AppliedEdit(edit=Edit(fix="ippool"), step=1, steps=1),)
    entry = LedgerEntry(
        target=target, base=encode_spec(base), written=encode_spec(fixed), edits=edits
    )
    for obj in render_reconciler_objects("mirror:1", select_objects([entry])):
        DirectCluster(api).apply(obj)
    DirectCluster(api).create(ledger._encode(entry))
    api.seed({"kind": "IPPool", "metadata": {"name": "six"}, "spec": base})
    account = api.add_service_account("kube-system", "pypi-mirror-keeper")
    (kept,) = select_objects([entry])
    assert kept.path == "/apis/projectcalico.org/v3/ippools/six"
    log: list[str] = []
    client = DirectInClusterClient(api, account)
    ObjectReconciler(client, {kept.ledger_entry: kept.path}, log.append).reconcile()
    assert api.read("IPPool", "six")["spec"] == fixed, log
    (event,) = list_events(api)
    assert event["metadata"]["namespace"] == "default"


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
def test_tries_again_after_a_write_conflict(api: MemoryApi, status: int) -> None:
    api.failures.refuse(on("PATCH", PATH), status)
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert (list_events(api), log) == ([], [])
    reconciler.reconcile()
    assert len(list_events(api)) == 1
    assert read_corefile(api) == WRITTEN


RIGHTS = [
    ("get", "configmaps", "coredns"),
    ("get", "configmaps", NAME),
    ("patch", "configmaps", "coredns"),
    ("create", "events", ""),
]


@pytest.mark.parametrize(("verb", "resource", "name"), RIGHTS)
def test_logs_a_missing_right(api: MemoryApi, verb: str, resource: str, name: str) -> None:
    """Without the right to read, nothing is taken for absent: neither the entry nor the object."""
    reconciler, log = make_reconciler(api)
    account = reconciler.api._user  # type: ignore[attr-defined]
    account.withheld.append(Rule(verb, resource, names=(name,) if name else ()))
    reconciler.reconcile()
    assert f'cannot {verb} resource "{resource}"' in log[-1]
    assert list_events(api) == []
    assert read_corefile(api) == (WRITTEN if resource == "events" else BASE)
    account.withheld.clear()
    reconciler.reconcile()
    assert read_corefile(api) == WRITTEN


def test_has_no_other_rights(api: MemoryApi) -> None:
    """What the account may do beside that is refused."""
    client = make_reconciler(api)[0].api
    for method, path in (
        ("GET", "/api/v1/namespaces/kube-system/configmaps/other"),
        ("GET", "/api/v1/namespaces/kube-system/configmaps"),
        ("GET", "/api/v1/namespaces/kube-system/secrets/x"),
        ("PATCH", f"{LEDGER_PATH}/{NAME}"),
        ("DELETE", PATH),
        ("PUT", PATH),
        ("POST", "/api/v1/namespaces/kube-system/configmaps"),
        ("POST", "/api/v1/namespaces/default/events"),
        ("POST", "/api/v1/namespaces/kube-system/pods"),
    ):
        with pytest.raises(ApiStatusError) as error:
            client._request(method, path, {})  # type: ignore[attr-defined]
        assert error.value.status == 403, path


def test_a_failing_target_does_not_stop_the_others(api: MemoryApi) -> None:
    log: list[str] = []
    missing = "/api/v1/namespaces/kube-system/configmaps/missing"
    targets = {"pypi-mirror-ledger-000000000000": missing, NAME: PATH}
    api.failures.refuse(on("GET", missing), 500, times=None)
    ObjectReconciler(DirectInClusterClient(api), targets, log.append).reconcile()
    assert read_corefile(api) == WRITTEN
    assert log[0] == f"{missing}: 500: refused by the test"


def test_logs_a_damaged_entry_and_writes_nothing(api: MemoryApi) -> None:
    api.edit("ConfigMap", NAME, "kube-system", lambda obj: obj["data"].update(sha256="0"))
    reconciler, log = make_reconciler(api)
    reconciler.reconcile()
    assert api.list_writes() == []
    assert "not what was written" in log[0]


def test_names_no_writer_if_nobody_else_wrote() -> None:
    obj = {"metadata": {"managedFields": [{"manager": "pypi-mirror"}]}}
    assert describe_last_writer(obj) == ""
