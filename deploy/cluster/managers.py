"""Which tool keeps an object: it reverts what others change."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.cluster.client import Object
from deploy.cluster.objects import get_controller

# label or annotation → the tool that puts it there; the first match counts
_MARKS = (
    ("objectset.rio.cattle.io/owner-gvk", "k3s"),
    ("objectset.rio.cattle.io/owner-name", "k3s"),
    ("objectset.rio.cattle.io/id", "k3s"),
    ("addonmanager.kubernetes.io/mode", "the add-on manager"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("argocd.argoproj.io/application-set-name", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("fleet.cattle.io/bundle-id", "Fleet"),
    ("kapp.k14s.io/app", "kapp"),
    ("config.k8s.io/owning-inventory", "Config Sync or kpt"),
    ("operators.coreos.com/owner", "its operator"),
    ("olm.owner", "its operator"),
    ("meta.helm.sh/release-name", "Helm"),
)
# the names with which the same tools write, in metadata.managedFields
_FIELD_MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "fleetagent": "Fleet",
    "kapp-server": "kapp",
    "configsync": "Config Sync or kpt",
    "juju": "Juju",
    "helm": "Helm",
    "Helm": "Helm",
}
_RECONCILING = ("Argo CD", "Flux", "Fleet", "kapp", "Config Sync", "add-on manager", "k3s")
_MANAGED_BY = "app.kubernetes.io/managed-by"
_INSTANCE = "app.kubernetes.io/instance"
# values of managed-by that name no tool which reverts changes
_PASSIVE = frozenset({"helm", "kubectl", "manual", "pypi-mirror"})


def is_reconciling(manager: str) -> bool:
    """Whether a tool puts its own version back by itself, not only at its next use."""
    return any(name in manager for name in _RECONCILING)


def find_manager(obj: Object) -> str:
    """Return the tool that keeps an object, as a name for messages; empty if there is no sign."""
    metadata = obj.get("metadata", {})
    labels: Mapping[str, str] = metadata.get("labels") or {}
    marks = {**labels, **(metadata.get("annotations") or {})}
    if marks.get("addonmanager.kubernetes.io/mode") == "EnsureExists":
        del marks["addonmanager.kubernetes.io/mode"]  # created once, never reverted
    for mark, tool in _MARKS:
        if mark in marks:
            return tool
    if owner := get_controller(obj):
        return f"{owner['kind']} {owner['name']}"
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") in _FIELD_MANAGERS:
            return _FIELD_MANAGERS[entry["manager"]]
    managed_by = labels.get(_MANAGED_BY, "")
    if managed_by.lower() == "helm" and _INSTANCE in labels:
        # Helm itself would have set its annotation
        return f"Argo CD, or another tool that applies the chart of {labels[_INSTANCE]}"
    return managed_by if managed_by.lower() not in _PASSIVE else ""
