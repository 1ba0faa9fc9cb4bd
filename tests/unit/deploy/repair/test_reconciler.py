"""The reconciler follows the ledger: installed, refreshed, and removed with the last fix."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.changes.model import AppliedEdit, ConfigMapKey, Edit, LedgerEntry, NodeFile
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence import node_agent
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair import node_agents, reconciler
from mirror.core.errors import InputError, UnfitError
from mirror.core.wait import Deadline

CONFLIST = "/etc/cni/net.d/x.conflist"


def object_entry(name: str) -> LedgerEntry:
    target = ConfigMapKey(namespace="kube-system", name=name, key="k")
    edits = (AppliedEdit(edit=Edit(fix="dns"), step=1, steps=1),)
    return LedgerEntry(target=target, base=b"", edits=edits, written=b"x")


def node_entry(node: str) -> LedgerEntry:
    target = NodeFile(node=node, path=CONFLIST)
    edits = (AppliedEdit(edit=Edit(fix="pod-sysctl"), step=1, steps=1),)
    return LedgerEntry(target=target, base=b"", edits=edits, written=b"x")


class FakeLedgerEngine:
    """An engine that only knows what is in the ledger."""

    def __init__(self, *names: str, nodes: tuple[str, ...] = ()) -> None:
        self._entries = [*map(object_entry, names), *map(node_entry, nodes)]

    def entries(self) -> list[LedgerEntry]:
        return self._entries

    def check_permissions(self, targets: Any, extra: Any) -> None:
        self.checked = {str(permission) for permission in extra}


class FakeReconcilerCluster:
    """A cluster in which everything that is applied exists and runs."""

    def __init__(self, *objects: Object, forbidden: bool = False) -> None:
        self.objects = {(o["kind"], o["metadata"].get("namespace")): o for o in objects}
        self.deadline = Deadline.after(1)
        self.applied: list[str] = []
        self.forbidden = forbidden

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        if self.forbidden:
            raise ApiError(403, "Forbidden", "no", "refused", "")
        return self.objects.get((kind, namespace))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        return [obj for (other, _), obj in self.objects.items() if other == kind]

    def apply(self, obj: Object) -> Object:
        meta = obj["metadata"] | {"generation": 1}
        replicas = obj.get("spec", {}).get("replicas", 1)
        counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), replicas)
        applied = obj | {"metadata": meta, "status": {"observedGeneration": 1, **counts}}
        self.objects[obj["kind"], meta.get("namespace")] = applied
        self.applied.append(obj["kind"])
        return applied

    def delete(self, kind: str, name: str, namespace: str | None = None) -> bool:
        return self.objects.pop((kind, namespace), None) is not None


def as_cluster(
    monkeypatch: pytest.MonkeyPatch, engine: FakeLedgerEngine, fake: FakeReconcilerCluster
) -> Cluster:
    monkeypatch.setattr(reconciler, "build_engine", lambda _: engine)
    return cast("Cluster", fake)


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> FakeReconcilerCluster:
    """A cluster with a reconciler of these ConfigMaps."""
    fake = FakeReconcilerCluster()
    reconciler.install(as_cluster(monkeypatch, FakeLedgerEngine(*names), fake), "mirror:1")
    fake.applied.clear()
    return fake


def test_install_creates_permissions_before_the_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake, engine = FakeReconcilerCluster(), FakeLedgerEngine("coredns")
    status = reconciler.install(as_cluster(monkeypatch, engine, fake), "mirror:1")
    assert fake.applied == ["ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Deployment"]
    assert status.kept == ("ConfigMap kube-system/coredns key k",)
    assert "create roles in namespace kube-system" in engine.checked
    assert reconciler.read_status(cast("Cluster", fake)) == status


def test_refresh_writes_nothing_if_the_targets_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = installed(monkeypatch, "coredns")
    reconciler.refresh(as_cluster(monkeypatch, FakeLedgerEngine("coredns"), fake))
    assert fake.applied == []


def test_refresh_adds_another_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = installed(monkeypatch, "coredns")
    engine = FakeLedgerEngine("coredns", "calico-config")
    reconciler.refresh(as_cluster(monkeypatch, engine, fake))
    assert "Deployment" in fake.applied


def test_refresh_uninstalls_with_the_last_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = installed(monkeypatch, "coredns")
    reconciler.refresh(as_cluster(monkeypatch, FakeLedgerEngine(), fake))
    assert fake.objects == {}


def test_install_removes_permissions_that_are_not_needed_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = render_reconciler_objects("mirror:1", [])[1]
    fake = FakeReconcilerCluster(role | {"metadata": {"name": "x", "namespace": "calico"}})
    reconciler.install(as_cluster(monkeypatch, FakeLedgerEngine("coredns"), fake), "mirror:1")
    assert ("Role", "calico") not in fake.objects
    assert ("Role", "kube-system") in fake.objects


def test_refresh_does_nothing_without_a_reconciler(monkeypatch: pytest.MonkeyPatch) -> None:
    for fake in (FakeReconcilerCluster(), FakeReconcilerCluster(forbidden=True)):
        reconciler.refresh(as_cluster(monkeypatch, FakeLedgerEngine("coredns"), fake))
        assert fake.applied == []


def test_install_needs_a_fix_and_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nothing to keep"):
        cluster = as_cluster(monkeypatch, FakeLedgerEngine(), FakeReconcilerCluster())
        reconciler.install(cluster, "mirror:1")
    with pytest.raises(UnfitError, match="no image"):
        cluster = as_cluster(monkeypatch, FakeLedgerEngine("coredns"), FakeReconcilerCluster())
        reconciler.install(cluster, None)


def test_agents_that_respond_keep_what_is_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an object of the API the reconciler has no pod; the agents do everything."""
    fake, engine = FakeReconcilerCluster(), FakeLedgerEngine(nodes=("ra", "babel"))
    cluster = as_cluster(monkeypatch, engine, fake)
    monkeypatch.setattr(node_agent, "ensure_agents", lambda *_: {"ra": "agent-1"})
    monkeypatch.setattr(reconciler, "_find_agents", lambda _: {"ra": "agent-1"})
    calls: list[Any] = []

    def sync_agents(*arguments: Any) -> set[tuple[str, str]]:
        calls.append(arguments[-1])
        return {("ra", CONFLIST)}

    monkeypatch.setattr(node_agents, "sync_agents", sync_agents)
    monkeypatch.setattr(node_agents, "read_kept_targets", lambda *_: {("ra", CONFLIST)})
    monkeypatch.setattr(node_agents, "stop_agents", lambda _, pods: calls.append(f"stop {pods}"))
    status = reconciler.install(cluster, "mirror:1")
    assert (status.kept, status.not_kept) == (
        (f"file {CONFLIST} on node ra",),
        (f"file {CONFLIST} on node babel",),
    )
    assert fake.objects["Deployment", "kube-system"]["spec"]["replicas"] == 0
    assert reconciler.read_status(cluster) == status
    fake.applied.clear()
    reconciler.refresh(cluster)
    reconciler.refresh_agents(cluster)
    assert (fake.applied, calls) == ([], [{"ra": "agent-1"}] * 3)
    reconciler.refresh(as_cluster(monkeypatch, FakeLedgerEngine(), fake))
    assert (fake.objects, calls[-1]) == ({}, "stop {'ra': 'agent-1'}")
    reconciler.refresh_agents(cluster)
    assert len(calls) == 4, "without a reconciler no agent is called"
