"""A keeper follows the ledger: brought up to date, and ended with what it keeps."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.changes import node_reconcile
from deploy.changes.model import AppliedEdit, ConfigMapKey, Edit, LedgerEntry, NodeFile
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence import node_agent
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair import apply as apply_module
from deploy.repair import reconciler
from mirror.core.errors import InputError, UnfitError
from mirror.core.wait import Deadline


def entry(key: str) -> LedgerEntry:
    target = ConfigMapKey(namespace="kube-system", name=key, key="k")
    edits = (AppliedEdit(edit=Edit(fix="dns"), step=1, steps=1),)
    return LedgerEntry(target=target, base=b"", edits=edits, written=b"x")


def on_node(node: str) -> LedgerEntry:
    target = NodeFile(node=node, path="/etc/cni/net.d/x.conflist")
    edits = (AppliedEdit(edit=Edit(fix="pod-sysctl"), step=1, steps=1),)
    return LedgerEntry(target=target, base=b"", edits=edits, written=b"x")


class FakeLedgerEngine:
    """An engine that only knows what is in the ledger."""

    def __init__(self, *keys: str, nodes: tuple[str, ...] = ()) -> None:
        self._entries = [*(entry(key) for key in keys), *(on_node(one) for one in nodes)]

    def entries(self) -> list[LedgerEntry]:
        return self._entries

    def check_permissions(self, targets: Any, more: Any) -> None:
        self.asked = {str(one) for one in more}


class FakeReconcilerCluster:
    """What is applied is there, and runs."""

    def __init__(self, *objects: Object, refused: bool = False) -> None:
        self.there = {(o["kind"], o["metadata"].get("namespace")): o for o in objects}
        self.deadline = Deadline.after(1)
        self.applied: list[str] = []
        self.refused = refused

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        if self.refused:
            raise ApiError(403, "Forbidden", "no", "refused", "")
        return self.there.get((kind, namespace))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        return [one for (found, _), one in self.there.items() if found == kind]

    def apply(self, obj: Object) -> Object:
        meta = obj["metadata"] | {"generation": 1}
        count = obj.get("spec", {}).get("replicas", 1)
        counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), count)
        done = {"observedGeneration": 1, **counts}
        made = obj | {"metadata": meta, "status": done}
        self.there[obj["kind"], meta.get("namespace")] = made
        self.applied.append(obj["kind"])
        return made

    def delete(self, kind: str, name: str, namespace: str | None = None) -> bool:
        return self.there.pop((kind, namespace), None) is not None


def world(
    monkeypatch: pytest.MonkeyPatch, works: FakeLedgerEngine, fake: FakeReconcilerCluster
) -> Cluster:
    monkeypatch.setattr(apply_module, "build_engine", lambda _: works)
    return cast("Cluster", fake)


def running(monkeypatch: pytest.MonkeyPatch, *keys: str) -> FakeReconcilerCluster:
    """A cluster with a keeper of these."""
    fake = FakeReconcilerCluster()
    reconciler.install(world(monkeypatch, FakeLedgerEngine(*keys), fake), "mirror:1")
    fake.applied.clear()
    return fake


def test_it_is_made_and_its_rights_first(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, works = FakeReconcilerCluster(), FakeLedgerEngine("coredns")
    made = reconciler.install(world(monkeypatch, works, fake), "mirror:1")
    assert fake.applied == ["ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Deployment"]
    assert made.keeps == ("ConfigMap kube-system/coredns key k",)
    assert "create roles in namespace kube-system" in works.asked
    assert reconciler.read_status(cast("Cluster", fake)) == made


def test_what_is_kept_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = running(monkeypatch, "coredns")
    reconciler.refresh(world(monkeypatch, FakeLedgerEngine("coredns"), fake))
    assert fake.applied == []


def test_another_fix_is_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = running(monkeypatch, "coredns")
    reconciler.refresh(world(monkeypatch, FakeLedgerEngine("coredns", "calico-config"), fake))
    assert "Deployment" in fake.applied


def test_it_ends_with_the_last_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = running(monkeypatch, "coredns")
    reconciler.refresh(world(monkeypatch, FakeLedgerEngine(), fake))
    assert fake.there == {}


def test_rights_that_nothing_needs_any_more_go(monkeypatch: pytest.MonkeyPatch) -> None:
    old = render_reconciler_objects("mirror:1", [])[1] | {
        "metadata": {"name": "x", "namespace": "calico"}
    }
    fake = FakeReconcilerCluster(old)
    reconciler.install(world(monkeypatch, FakeLedgerEngine("coredns"), fake), "mirror:1")
    assert ("Role", "calico") not in fake.there
    assert ("Role", "kube-system") in fake.there


def test_without_one_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for fake in (FakeReconcilerCluster(), FakeReconcilerCluster(refused=True)):
        reconciler.refresh(world(monkeypatch, FakeLedgerEngine("coredns"), fake))
        assert fake.applied == []


def test_nothing_to_keep_and_no_image_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nothing to keep"):
        reconciler.install(
            world(monkeypatch, FakeLedgerEngine(), FakeReconcilerCluster()), "mirror:1"
        )
    with pytest.raises(UnfitError, match="no image"):
        reconciler.install(
            world(monkeypatch, FakeLedgerEngine("coredns"), FakeReconcilerCluster()), None
        )


def test_what_is_on_nodes_is_kept_by_those_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an object of the API the keeper has no pod, and stands for the agents alone."""
    fake, works = FakeReconcilerCluster(), FakeLedgerEngine(nodes=("ra", "babel"))
    cluster, place = world(monkeypatch, works, fake), "/etc/cni/net.d/x.conflist"
    monkeypatch.setattr(node_agent, "ensure_agents", lambda *_: {"ra": "agent-1"})
    monkeypatch.setattr(reconciler, "_agents", lambda _: {"ra": "agent-1"})
    told: list[Any] = []

    def tell(*words: Any) -> set[tuple[str, str]]:
        told.append(words[-1])
        return {("ra", place)}

    monkeypatch.setattr(node_reconcile, "sync_agents", tell)
    monkeypatch.setattr(node_reconcile, "read_kept_targets", lambda *_: {("ra", place)})
    monkeypatch.setattr(node_reconcile, "stop_agents", lambda _, pods: told.append(f"ended {pods}"))
    made = reconciler.install(cluster, "mirror:1")
    assert (made.keeps, made.leaves) == (
        (f"file {place} on node ra",),
        (f"file {place} on node babel",),
    )
    assert fake.there["Deployment", "kube-system"]["spec"]["replicas"] == 0
    assert reconciler.read_status(cluster) == made
    fake.applied.clear()
    reconciler.refresh(cluster)
    reconciler.refresh_agents(cluster)
    assert (fake.applied, told) == ([], [{"ra": "agent-1"}] * 3)
    reconciler.refresh(world(monkeypatch, FakeLedgerEngine(), fake))
    assert (fake.there, told[-1]) == ({}, "ended {'ra': 'agent-1'}")
    reconciler.refresh_agents(cluster)
    assert len(told) == 4, "no keeper: nobody is told"
