"""CoreDNS: where its configuration comes from, and what answers before it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.managers import find_manager
from deploy.cluster.objects import get_name
from deploy.evidence.dns import read_dns_labels
from deploy.formats import corefile

_SYSTEM = "kube-system"
_COREFILE_MAPS = ("coredns", "rke2-coredns-rke2-coredns")
_CUSTOM_MAP = "coredns-custom"
OVERRIDE_SUFFIX = ".override"  # k3s, AKS: such files are imported into the server block


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
    ConfigMap. ``node_cache``: NodeLocal DNSCache answers pods first. ``environment`` has the
    variables of its containers that are given by value.
    """

    workload: str = ""
    owner: str = ""
    imports: bool = False
    custom: tuple[CustomFile, ...] | None = None
    node_cache: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def read_corefile(cluster: Cluster) -> CorefileConfigMap | None:
    """Return the Corefile; None if no ConfigMap holds one."""
    found = _find_source(cluster)
    return found.config_map if found else None


def read_coredns(cluster: Cluster) -> CoreDns | None:
    """Return CoreDNS' configuration; None if no ConfigMap holds a Corefile."""
    found = _find_source(cluster)
    if found is None:
        return None
    text = found.config_map.text
    pod_spec = found.workload["spec"]["template"]["spec"] if found.workload else {}
    return CoreDns(
        namespace=_SYSTEM,
        name=found.config_map.name,
        text=text,
        workload=f"{found.kind}/{get_name(found.workload)}" if found.workload else "",
        owner=found.owner,
        imports=_imports_overrides(text),
        custom=_read_custom_files(cluster),
        node_cache=_has_node_cache(cluster),
        environment={
            variable["name"]: variable["value"]
            for container in pod_spec.get("containers") or ()
            for variable in container.get("env") or ()
            if "value" in variable
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CorefileSource:
    """Where the Corefile was found; ``workload`` mounts it, if one does."""

    config_map: CorefileConfigMap
    owner: str
    kind: str = ""
    workload: Object | None = None


def _find_source(cluster: Cluster) -> _CorefileSource | None:
    """Return the Corefile that the pods of the DNS Service mount, else one of a known name."""
    workloads = _list_workloads(cluster)
    labels: Mapping[str, str] = {}
    with suppress(ApiError):
        labels = read_dns_labels(cluster)
    serving = [
        (kind, workload, name)
        for kind, workload in workloads
        if labels and labels.items() <= _get_pod_labels(workload).items()
        for name in _list_mounted(workload)
    ]
    named = [
        (kind, workload, name)
        for name in _COREFILE_MAPS
        for kind, workload in (
            *(each for each in workloads if name in _list_mounted(each[1])),
            ("", None),
        )
    ]
    tried = set[str]()
    for kind, workload, name in (*serving, *named):
        if name in tried:
            continue
        tried.add(name)
        config_map = cluster.get("ConfigMap", name, _SYSTEM)
        text = ((config_map or {}).get("data") or {}).get("Corefile")
        if config_map is not None and text is not None:
            return _CorefileSource(
                config_map=CorefileConfigMap(namespace=_SYSTEM, name=name, text=text),
                owner=find_manager(config_map),
                kind=kind,
                workload=workload,
            )
    return None


def _list_workloads(cluster: Cluster) -> list[tuple[str, Object]]:
    workloads: list[tuple[str, Object]] = []
    for kind in ("Deployment", "DaemonSet"):
        with suppress(ApiError):
            workloads += [(kind, workload) for workload in cluster.list(kind, _SYSTEM)]
    return workloads


def _get_pod_labels(workload: Object) -> Mapping[str, str]:
    labels: Mapping[str, str] = workload["spec"]["template"].get("metadata", {}).get("labels") or {}
    return labels


def _list_mounted(workload: Object) -> list[str]:
    """Return the names of the ConfigMaps that a workload mounts."""
    volumes = workload["spec"]["template"]["spec"].get("volumes") or []
    sources = [
        source
        for volume in volumes
        for source in (volume, *volume.get("projected", {}).get("sources", ()))
    ]
    return [source["configMap"]["name"] for source in sources if "configMap" in source]


def _imports_overrides(text: str) -> bool:
    """Whether a server block of the root zone imports the files of coredns-custom."""
    try:
        parsed = corefile.parse(text)
    except corefile.CorefileError:
        return False
    return any(
        directive.name == "import" and directive.args[:1] and is_override_pattern(directive.args[0])
        for block in parsed.server_blocks
        if "." in block.zones
        for directive in parsed.effective_directives(block)
    )


def is_override_pattern(pattern: str) -> bool:
    """Whether an import pattern is that of all overrides: /etc/coredns/custom/*.override."""
    return pattern.endswith(f"/*{OVERRIDE_SUFFIX}")


def _read_custom_files(cluster: Cluster) -> tuple[CustomFile, ...] | None:
    config_map = cluster.get("ConfigMap", _CUSTOM_MAP, _SYSTEM)
    if config_map is None:
        return None
    data = config_map.get("data") or {}
    return tuple(CustomFile(key=key, text=data[key]) for key in sorted(data))


def _has_node_cache(cluster: Cluster) -> bool:
    with suppress(ApiError):
        return cluster.get("DaemonSet", "node-local-dns", _SYSTEM) is not None
    return False
