"""The reconciler's permissions name its objects; its pod meets Pod Security `restricted`."""

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
    ("ippool", ConfigMapKey(namespace="kube-system", name="calico-config", key="c")),
    (
        "host-sysctl",
        ConfigMapKey(namespace="kube-system", name="pypi-mirror-node-orders", key="orders.json"),
    ),
    ("ippool", ObjectSpec(kind="DaemonSet", name="calico-node", namespace="calico")),
    ("ippool", ObjectSpec(kind="IPPool", name="six")),
    ("ippool", ObjectSpec(kind="IPPool.projectcalico.org", name="new")),
    ("pod-sysctl", NodeFile(node="ra", path="/etc/cni/net.d/10-calico.conflist")),
    ("attach", ObjectSpec(kind="Deployment", name="web", namespace="shop")),
)


def render_objects() -> list[Any]:
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


def get_rules(kind: str, namespace: str | None = None) -> list[tuple[str, list[str], list[str]]]:
    """Resource, verbs and names of each rule of the only role of this kind in a namespace."""
    (rules,) = [
        obj["rules"]
        for obj in render_objects()
        if obj["kind"] == kind and obj["metadata"].get("namespace") == namespace
    ]
    return [(rule["resources"][0], rule["verbs"], rule.get("resourceNames", [])) for rule in rules]


def test_may_patch_its_objects_by_name_and_nothing_else() -> None:
    (entries, corefile, watched, events) = get_rules("Role", "kube-system")
    assert entries[:2] == ("configmaps", ["get"])
    assert len(entries[2]) == 6
    assert all(name.startswith("pypi-mirror-ledger-") for name in entries[2])
    assert corefile == ("configmaps", ["get", "patch"], ["coredns"])
    assert watched == ("configmaps", ["get"], ["calico-config", "pypi-mirror-node-orders"])
    assert events == ("events", ["create"], [])
    assert get_rules("Role", "calico") == [
        ("daemonsets", ["get"], ["calico-node"]),
        ("events", ["create"], []),
    ]
    assert get_rules("Role", "default") == [("events", ["create"], [])], "about the IPPools"
    assert get_rules("ClusterRole") == [
        ("ippools", ["get", "patch"], ["six"]),
        ("ippools", ["get", "patch"], ["new"]),
    ]
    (role,) = [obj for obj in render_objects() if obj["kind"] == "ClusterRole"]
    groups = [rule["apiGroups"] for rule in role["rules"]]
    assert groups == [["crd.projectcalico.org"], ["projectcalico.org"]]
    assert not [obj for obj in render_objects() if obj["metadata"].get("namespace") == "shop"]


def test_runs_as_a_restricted_pod() -> None:
    deployment = render_objects()[-1]
    spec = deployment["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == RECONCILER_NAME
    assert spec["automountServiceAccountToken"] is True
    assert spec["securityContext"]["runAsNonRoot"]
    assert "hostNetwork" not in spec
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"].keys() == {"requests", "limits"}


def test_pulls_its_image_with_a_secret_if_one_is_named() -> None:
    def get_secrets(pull_secret: str | None) -> Any:
        objects = render_reconciler_objects("m:1", (), pull_secret=pull_secret)
        (spec,) = [
            obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] == "Deployment"
        ]
        return spec.get("imagePullSecrets")

    assert get_secrets("corp") == [{"name": "corp"}]
    assert get_secrets(None) is None
