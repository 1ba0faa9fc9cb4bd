"""One bad ConfigMap or one bad target is reported, and everything else is done."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Change, ConfigMapKey, Edit, ObjectSpec
from deploy.changes.state import LEDGER_STATE
from deploy.changes.update import TargetFailure
from deploy.fix_registry import build_engine, load_editors, read_fix_states
from deploy.lifecycle.down import take_down
from deploy.repair.model import FixProofError
from deploy.repair.rollback import plan_rollback, roll_back
from deploy.repair.uninstall import plan_uninstall, uninstall
from mirror.core.errors import MirrorError, RefusedError
from mirror.core.progress import SILENT
from tests.kubernetes_api import DirectCluster, MemoryApi, on

COREFILE = ".:53 {\n    errors\n    forward . 9.9.9.9\n    cache 30\n    reload\n}\n"
LABELS = {
    "app.kubernetes.io/name": "pypi-mirror",
    "app.kubernetes.io/component": "ledger",
    "app.kubernetes.io/managed-by": "pypi-mirror",
}
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
KEY = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
CHANGE = Change(target=KEY, edit=DNS, why="no IPv6")
JUNK: dict[str, dict[str, Any]] = {
    "empty": {},
    "no JSON": {"data": {"entry.json": "{", "sha256": "x"}},
    "newer": {"data": {"version": "99"}},
    "strange version": {"data": {"version": "٣"}},
}


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    api.seed(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}},
        config_map("coredns", {"data": {"Corefile": COREFILE}}, {}),
    )
    cluster = DirectCluster(api)
    engine = build_engine(cluster)
    with engine.hold_lease():
        for update in engine.plan([CHANGE]):
            engine.apply(update)
    assert read_corefile(api) != COREFILE
    return api


def config_map(name: str, content: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "kube-system", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **content}


def read_corefile(api: MemoryApi) -> str:
    return str(api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"])


def plant_junk(api: MemoryApi, kind: str) -> None:
    api.seed(config_map("pypi-mirror-ledger-00000000junk", JUNK[kind], LABELS))


def forge_page(api: MemoryApi, base: bytes = b"* * * * * root evil\n") -> None:
    """Store an entry with right checksums that a rollback must not obey."""
    engine = ChangeEngine(DirectCluster(api), load_editors())
    (stored,) = engine._ledger.read_all()
    target = ObjectSpec(kind="Role", name="evil", namespace="kube-system")
    forged = replace(stored.entry, target=target, base=base)
    engine._ledger.put(forged, None)


@pytest.mark.parametrize("kind", [*JUNK, "forged"])
def test_a_rollback_does_the_rest_and_reports_it(api: MemoryApi, kind: str) -> None:
    if kind == "forged":
        forge_page(api)
    else:
        plant_junk(api, kind)
    before = {name for name in api.dump() if "coredns" not in name}
    cluster = DirectCluster(api)
    states = {state.fix: state.state for state in read_fix_states(cluster)}
    assert states["dns"] == "applied"
    assert states[LEDGER_STATE] == "unknown"
    with pytest.raises(FixProofError, match="the rollback is done, but not on 1") as error:
        roll_back(cluster, plan_rollback(cluster, []), force=False)
    assert "ConfigMap" in error.value.why
    assert "delete" not in error.value.why or kind != "newer"
    assert read_corefile(api) == COREFILE
    assert not api.has("Role", "evil", "kube-system")
    assert {name for name in api.dump() if "-ledger-" in name} <= before


def test_planning_a_fix_ignores_what_is_not_about_its_targets(api: MemoryApi) -> None:
    plant_junk(api, "empty")
    failures: list[TargetFailure] = []
    (update,) = build_engine(DirectCluster(api)).plan([CHANGE], failures)
    assert update.is_noop
    assert failures == []


def test_a_bad_target_does_not_stop_the_others(api: MemoryApi) -> None:
    other = ConfigMapKey(namespace="kube-system", name="binary", key="Corefile")
    api.seed(config_map("binary", {"binaryData": {"Corefile": "AA=="}}, {}))
    failures: list[TargetFailure] = []
    changes = [Change(target=other, edit=DNS, why=""), CHANGE]
    updates = build_engine(DirectCluster(api)).plan(changes, failures)
    assert [update.target for update in updates] == [KEY]
    assert [failure.target for failure in failures] == [other]
    assert "binary data" in str(failures[0])


def test_a_target_that_cannot_be_written_is_reported(api: MemoryApi) -> None:
    """By a rollback, which does the rest, and which can be repeated."""
    message = 'admission webhook "guard.example" denied the request'
    put = on("PUT", "*/configmaps/coredns")
    api.failures.refuse(put, 403, "Forbidden", message=message)
    cluster = DirectCluster(api)
    with pytest.raises(FixProofError, match="not on 1 of its targets") as error:
        roll_back(cluster, plan_rollback(cluster, []), force=False)
    assert "guard.example" in error.value.why
    roll_back(cluster, plan_rollback(cluster, []), force=False)
    assert read_corefile(api) == COREFILE


@pytest.mark.parametrize("kind", ["empty", "no JSON"])
def test_a_purge_leaves_junk_alone(kind: str) -> None:
    api = MemoryApi()
    plant_junk(api, kind)
    result = take_down(DirectCluster(api), "pypi-mirror", purge=True, progress=SILENT)
    assert result.purged
    assert api.has("ConfigMap", "pypi-mirror-ledger-00000000junk", "kube-system")


@pytest.mark.parametrize("kind", ["newer", "applied"])
def test_a_purge_refuses_while_changes_remain(api: MemoryApi, kind: str) -> None:
    if kind == "newer":
        cluster = DirectCluster(api)
        roll_back(cluster, plan_rollback(cluster, []), force=False)
        plant_junk(api, "newer")
    with pytest.raises(RefusedError, match="cannot purge") as error:
        take_down(DirectCluster(api), "pypi-mirror", purge=True, progress=SILENT)
    assert ("newer version" in error.value.why) == (kind == "newer")


def test_the_junk_of_a_newer_version_names_no_deletion(api: MemoryApi) -> None:
    plant_junk(api, "newer")
    (rejected,) = build_engine(DirectCluster(api)).rejected()
    assert rejected.newer
    assert "delete" not in json.dumps([str(rejected.error), rejected.error.next_step])


@pytest.mark.parametrize("kind", ["empty", "newer"])
def test_an_uninstall_does_the_rest_and_names_it_at_the_end(api: MemoryApi, kind: str) -> None:
    plant_junk(api, kind)
    cluster = DirectCluster(api)
    plan = plan_uninstall(cluster, "pypi-mirror")
    match = "cannot purge" if kind == "newer" else "left in the cluster"
    with pytest.raises(MirrorError, match=match):
        uninstall(cluster, "pypi-mirror", plan, SILENT, force=False)
    assert read_corefile(api) == COREFILE
