"""The ledger: compare-and-swap, altered and missing entries, rights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.changes.ledger import Ledger, config_map_name
from deploy.changes.model import AppliedEdit, Edit, LedgerEntry
from deploy.cluster.client import ApiError
from mirror.core.errors import RefusedError
from mirror.snapshot import WriteConflict
from tests.fix_targets import COREFILE, FixTargets, apply_fixes, roll_back_fixes
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule, on

SYSTEM = "kube-system"
NAME = config_map_name(COREFILE)
EDITS = (AppliedEdit(edit=Edit(fix="dns"), step=1, steps=1),)


def make_entry(base: bytes = b"old") -> LedgerEntry:
    return LedgerEntry(target=COREFILE, base=base, written=b"new", edits=EDITS)


def test_stores_and_returns_an_entry(api: MemoryApi) -> None:
    ledger = Ledger(DirectCluster(api))
    assert ledger.read(COREFILE) is None
    stored = ledger.put(make_entry(b"\x00\xff binary"), None)
    assert ledger.read(COREFILE) == stored
    assert ledger.read_all() == [stored]
    assert stored.entry == make_entry(b"\x00\xff binary")
    labels = api.read("ConfigMap", NAME, SYSTEM)["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "pypi-mirror"
    assert labels["app.kubernetes.io/component"] == "ledger"


def test_lists_only_entries(api: MemoryApi) -> None:
    for name, labels in (
        ("coredns", {}),
        ("other", {"app.kubernetes.io/component": "ledger"}),
        ("record", {"app.kubernetes.io/managed-by": "pypi-mirror"}),
    ):
        api.seed(
            {"kind": "ConfigMap", "metadata": {"name": name, "namespace": SYSTEM, "labels": labels}}
        )
    assert Ledger(DirectCluster(api)).read_all() == []


def test_of_two_writers_the_second_is_refused(api: MemoryApi) -> None:
    ledger = Ledger(DirectCluster(api))
    first = ledger.put(make_entry(b"1"), None)
    with pytest.raises(WriteConflict):
        ledger.put(make_entry(b"2"), None)
    second = ledger.put(make_entry(b"2"), first)
    with pytest.raises(WriteConflict):
        ledger.put(make_entry(b"3"), first)
    with pytest.raises(WriteConflict):
        ledger.delete(first)
    assert ledger.read(COREFILE) == second
    ledger.delete(second)
    assert not api.has("ConfigMap", NAME, SYSTEM)
    ledger.delete(second)  # it is gone
    with pytest.raises(WriteConflict):
        ledger.put(make_entry(b"3"), second)
    assert not api.has("ConfigMap", NAME, SYSTEM)


@pytest.mark.parametrize("status", [403, 500])
def test_only_a_missing_entry_is_absent(api: MemoryApi, status: int) -> None:
    user = api.add_user("limited", [Rule("create", "configmaps")])
    ledger = Ledger(DirectCluster(api, user))
    if status == 500:
        api.failures.refuse(lambda request: request.method == "GET", status, times=None)
    for read in (lambda: ledger.read(COREFILE), ledger.read_all):
        with pytest.raises(ApiError) as error:
            read()
        assert error.value.status == status


def _change_base(obj: Any) -> None:
    obj["binaryData"]["base"] = "YWx0ZXJlZA=="


def _swap(obj: Any) -> None:
    data = obj["binaryData"]
    data["base"], data["written"] = data["written"], data["base"]


def _edit_fields(obj: Any) -> None:
    obj["data"]["entry.json"] = obj["data"]["entry.json"].replace('"dns"', '"ippool"')


def _drop(part: str) -> Callable[[Any], None]:
    def drop(obj: Any) -> None:
        for data in (obj.get("data") or {}, obj.get("binaryData") or {}):
            data.pop(part, None)

    return drop


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_change_base, id="base changed"),
        pytest.param(_swap, id="base and written exchanged"),
        pytest.param(_edit_fields, id="fields edited"),
        *(pytest.param(_drop(part), id=f"no {part}") for part in ("base", "written")),
        *(pytest.param(_drop(part), id=f"no {part}") for part in ("entry.json", "sha256")),
        pytest.param(lambda obj: obj["data"].update(sha256="0" * 64), id="another checksum"),
        pytest.param(lambda obj: obj.pop("data"), id="no data"),
    ],
)
def test_refuses_to_act_on_an_altered_entry(
    api: MemoryApi, targets: FixTargets, damage: Callable[[Any], None]
) -> None:
    apply_fixes(targets, "dns")
    api.edit("ConfigMap", NAME, SYSTEM, damage)
    before = api.dump()
    for operation in (apply_fixes, roll_back_fixes):
        with pytest.raises(RefusedError, match=f"ConfigMap {SYSTEM}/{NAME} is damaged"):
            operation(targets, "dns")
    assert api.dump() == before


def test_without_an_entry_a_rollback_leaves_the_target(api: MemoryApi, targets: FixTargets) -> None:
    apply_fixes(targets, "dns")
    fixed = targets.read_corefile()
    api.remove("ConfigMap", NAME, SYSTEM)
    roll_back_fixes(targets, "dns")
    assert targets.read_corefile() == fixed


def test_refuses_what_a_config_map_cannot_hold(api: MemoryApi) -> None:
    ledger = Ledger(DirectCluster(api))
    with pytest.raises(RefusedError, match="is too large"):
        ledger.put(make_entry(b"x" * 675_000), None)
    ledger.put(make_entry(b"x" * 674_000), None)
    assert len(api.list_writes()) == 1


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_entry_that_cannot_be_written_is_an_error(
    api: MemoryApi, method: str, status: int
) -> None:
    """Only "not found" and "changed meanwhile" mean that somebody else was here."""
    ledger = Ledger(DirectCluster(api))
    writes: dict[str, Callable[[], object]] = {
        "POST": lambda: ledger.put(make_entry(), None),
        "PUT": lambda: ledger.put(make_entry(b"2"), stored),
        "DELETE": lambda: ledger.delete(stored),
    }
    if method != "POST":
        stored = ledger.put(make_entry(b"1"), None)
    before = api.dump()
    api.failures.refuse(on(method), status)
    with pytest.raises(ApiError) as error:
        writes[method]()
    assert error.value.status == status
    assert api.dump() == before
