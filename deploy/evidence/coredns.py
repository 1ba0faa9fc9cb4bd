"""Where CoreDNS' configuration comes from, and what stands in front of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object


@dataclass(frozen=True, slots=True, kw_only=True)
class CorefileConfigMap:
    """CoreDNS' configuration: the ConfigMap's key as it stands there."""

    namespace: str
    name: str
    text: str


def read_corefile(cluster: Cluster) -> CorefileConfigMap | None:
    for name in _COREFILES:
        found = cluster.get("ConfigMap", name, _SYSTEM)
        if found and "Corefile" in found.get("data", {}):
            return CorefileConfigMap(namespace=_SYSTEM, name=name, text=found["data"]["Corefile"])
    return None


_SYSTEM = "kube-system"
_COREFILES = ("coredns", "rke2-coredns-rke2-coredns")
_CUSTOM = "coredns-custom"
_OVERRIDES = ".override"  # k3s, AKS: files of this ending are imported into the server block
# label or annotation → who puts his own Corefile back
_OWNERS = (
    ("objectset.rio.cattle.io/owner-name", "k3s"),
    ("addonmanager.kubernetes.io/mode", "the add-on manager"),
    ("meta.helm.sh/release-name", "Helm"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFile:
    """A key of the ConfigMap coredns-custom."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreDns:
    """CoreDNS as it is configured here.

    ``custom`` are the files of coredns-custom; None where there is no such ConfigMap. ``imports``
    tells that the Corefile imports overrides from there. ``owner`` is who puts his own Corefile
    back. ``node_cache`` tells that NodeLocal DNSCache answers pods first. ``workload`` is the
    Deployment or DaemonSet that runs it, as KIND/NAME.
    """

    namespace: str
    name: str
    text: str
    workload: str = ""
    owner: str = ""
    imports: bool = False
    custom: tuple[CustomFile, ...] | None = None
    node_cache: bool = False


def read_coredns(cluster: Cluster) -> CoreDns | None:
    """None where no ConfigMap holds a Corefile."""
    for name in _COREFILES:
        found = cluster.get("ConfigMap", name, _SYSTEM)
        text = (found or {}).get("data", {}).get("Corefile")
        if found and text is not None:
            return CoreDns(
                namespace=_SYSTEM,
                name=name,
                text=text,
                workload=_workload(cluster, name),
                owner=_owner(found),
                imports=f"*{_OVERRIDES}" in text,
                custom=_custom(cluster),
                node_cache=_node_cache(cluster),
            )
    return None


def _custom(cluster: Cluster) -> tuple[CustomFile, ...] | None:
    found = cluster.get("ConfigMap", _CUSTOM, _SYSTEM)
    if found is None:
        return None
    data = found.get("data") or {}
    return tuple(CustomFile(key=key, text=data[key]) for key in sorted(data))


def _owner(found: Object) -> str:
    meta = found.get("metadata", {})
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    if marks.get("addonmanager.kubernetes.io/mode") == "EnsureExists":
        return ""
    return next((owner for mark, owner in _OWNERS if mark in marks), "")


def _workload(cluster: Cluster, config: str) -> str:
    """The one whose pods mount the ConfigMap."""
    for kind in ("Deployment", "DaemonSet"):
        with suppress(ApiError):
            for one in cluster.list(kind, _SYSTEM):
                volumes = one["spec"]["template"]["spec"].get("volumes") or []
                if any(v.get("configMap", {}).get("name") == config for v in volumes):
                    return f"{kind}/{one['metadata']['name']}"
    return ""


def _node_cache(cluster: Cluster) -> bool:
    with suppress(ApiError):
        return cluster.get("DaemonSet", "node-local-dns", _SYSTEM) is not None
    return False
