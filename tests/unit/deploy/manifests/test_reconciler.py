"""The keeper's rights are on the very objects by name; its pod passes Pod Security `restricted`."""

from __future__ import annotations

from typing import Any

from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    ObjectSpec,
    Target,
)
from deploy.manifests.agent import RECONCILER_NAME
from deploy.manifests.reconciler import render_reconciler_objects
from deploy.repair.reconciler import select_objects

TARGETS: tuple[tuple[str, Target], ...] = (
    ("dns", ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")),
    ("ippool", ObjectSpec(kind="DaemonSet", name="calico-node", namespace="calico")),
    ("ippool", ObjectSpec(kind="IPPool", name="six")),
    ("ippool", ObjectSpec(kind="IPPool.projectcalico.org", name="new")),
    ("pod-sysctl", NodeFile(node="ra", path="/etc/cni/net.d/10-calico.conflist")),
    ("attach", ObjectSpec(kind="Deployment", name="web", namespace="shop")),
)


def objects() -> list[Any]:
    entries = [
        LedgerEntry(
            target=target,
            base=b"",
            edits=(AppliedEdit(edit=Edit(fix=fix), step=1, steps=1),),
            written=b"",
        )
        for fix, target in TARGETS
    ]
    return list(render_reconciler_objects("mirror:1", select_objects(entries)))


def rules(kind: str, namespace: str | None = None) -> list[tuple[str, list[str], list[str]]]:
    (found,) = [
        one["rules"]
        for one in objects()
        if one["kind"] == kind and one["metadata"].get("namespace") == namespace
    ]
    return [(one["resources"][0], one["verbs"], one.get("resourceNames", [])) for one in found]


def test_it_may_touch_what_it_keeps_by_name_and_nothing_else() -> None:
    (pages, corefile, events) = rules("Role", "kube-system")
    assert pages[:2] == ("configmaps", ["get"])
    assert len(pages[2]) == 4
    assert all(name.startswith("pypi-mirror-ledger-") for name in pages[2])
    assert corefile == ("configmaps", ["get", "patch"], ["coredns"])
    assert events == ("events", ["create"], [])
    assert rules("Role", "calico") == [
        ("daemonsets", ["get", "patch"], ["calico-node"]),
        ("events", ["create"], []),
    ]
    assert rules("Role", "default") == [("events", ["create"], [])], "of the pool"
    assert rules("ClusterRole") == [
        ("ippools", ["get", "patch"], ["six"]),
        ("ippools", ["get", "patch"], ["new"]),
    ]
    (role,) = [one for one in objects() if one["kind"] == "ClusterRole"]
    groups = [one["apiGroups"] for one in role["rules"]]
    assert groups == [["crd.projectcalico.org"], ["projectcalico.org"]]
    assert not [one for one in objects() if one["metadata"].get("namespace") == "shop"]


def test_its_pod_is_restricted() -> None:
    deployment = objects()[-1]
    spec = deployment["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == (
        RECONCILER_NAME,
        True,
    )
    assert spec["securityContext"]["runAsNonRoot"]
    assert "hostNetwork" not in spec
    assert not [one for one in spec["volumes"] if "hostPath" in one]
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"].keys() == {"requests", "limits"}
