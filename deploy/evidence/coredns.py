"""CoreDNS: where its configuration comes from, and what answers before it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name

_SYSTEM = "kube-system"
_COREFILE_MAPS = ("coredns", "rke2-coredns-rke2-coredns")
_CUSTOM_MAP = "coredns-custom"
_OVERRIDE_SUFFIX = ".override"  # k3s, AKS: such files are imported into the server block
# label or annotation → the manager that restores its own Corefile
_OWNERS = (
    ("objectset.rio.cattle.io/owner-name", "k3s"),
    ("addonmanager.kubernetes.io/mode", "the add-on manager"),
    ("meta.helm.sh/release-name", "Helm"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorefileConfigMap:
    """The ConfigMap that holds the Corefile, and the Corefile's text."""

    namespace: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFile:
    """A key of the ConfigMap coredns-custom."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreDns(CorefileConfigMap):
    """CoreDNS' configuration: the Corefile's ConfigMap, and everything that affects it.

    ``workload`` is the Deployment or DaemonSet that runs it, as KIND/NAME. ``owner`` is a manager
    that restores its own Corefile. ``imports``: the Corefile imports overrides from
    coredns-custom. ``custom`` are the files of coredns-custom; None if there is no such
    ConfigMap. ``node_cache``: NodeLocal DNSCache answers pods first.
    """

    workload: str = ""
    owner: str = ""
    imports: bool = False
    custom: tuple[CustomFile, ...] | None = None
    node_cache: bool = False


def read_corefile(cluster: Cluster) -> CorefileConfigMap | None:
    """Return the Corefile; None if no ConfigMap holds one."""
    name, config_map = _find_config_map(cluster)
    if config_map is None:
        return None
    return CorefileConfigMap(namespace=_SYSTEM, name=name, text=config_map["data"]["Corefile"])


def read_coredns(cluster: Cluster) -> CoreDns | None:
    """Return CoreDNS' configuration; None if no ConfigMap holds a Corefile."""
    name, config_map = _find_config_map(cluster)
    if config_map is None:
        return None
    text = config_map["data"]["Corefile"]
    return CoreDns(
        namespace=_SYSTEM,
        name=name,
        text=text,
        workload=_find_workload(cluster, name),
        owner=_find_owner(config_map),
        imports=f"*{_OVERRIDE_SUFFIX}" in text,
        custom=_read_custom_files(cluster),
        node_cache=_has_node_cache(cluster),
    )


def _find_config_map(cluster: Cluster) -> tuple[str, Object | None]:
    for name in _COREFILE_MAPS:
        config_map = cluster.get("ConfigMap", name, _SYSTEM)
        if config_map and "Corefile" in (config_map.get("data") or {}):
            return name, config_map
    return "", None


def _read_custom_files(cluster: Cluster) -> tuple[CustomFile, ...] | None:
    config_map = cluster.get("ConfigMap", _CUSTOM_MAP, _SYSTEM)
    if config_map is None:
        return None
    data = config_map.get("data") or {}
    return tuple(CustomFile(key=key, text=data[key]) for key in sorted(data))


def _find_owner(config_map: Object) -> str:
    metadata = config_map.get("metadata", {})
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    if marks.get("addonmanager.kubernetes.io/mode") == "EnsureExists":
        return ""
    return next((owner for mark, owner in _OWNERS if mark in marks), "")


def _find_workload(cluster: Cluster, config_map: str) -> str:
    """Return the Deployment or DaemonSet whose pods mount the ConfigMap, as KIND/NAME."""
    for kind in ("Deployment", "DaemonSet"):
        with suppress(ApiError):
            for workload in cluster.list(kind, _SYSTEM):
                volumes = workload["spec"]["template"]["spec"].get("volumes") or []
                if any(volume.get("configMap", {}).get("name") == config_map for volume in volumes):
                    return f"{kind}/{get_name(workload)}"
    return ""


def _has_node_cache(cluster: Cluster) -> bool:
    with suppress(ApiError):
        return cluster.get("DaemonSet", "node-local-dns", _SYSTEM) is not None
    return False
