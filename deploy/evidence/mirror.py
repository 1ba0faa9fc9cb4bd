"""The mirror: its record, its objects, and the ConfigMaps it published. No Secret is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod, list_warnings
from deploy.cluster.objects import get_containers, get_image, get_name, read_volume_nodes
from deploy.evidence.masking import mask_text
from deploy.evidence.publications import (
    find_owner,
    read_identity,
    read_published_namespaces,
)
from deploy.manifests.model import CLAIM_NAME, ENV_MAP, NAME, POD_NAME, RECORD_MAP
from deploy.manifests.record import MirrorRecord, parse_record
from mirror.core.codec import json_key
from mirror.core.errors import RefusedError

_DISK_ERRORS = ("No space left", "database or disk is full", "disk I/O error", "readonly database")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeClaim:
    """The mirror's volume claim. ``nodes`` are those its volume is bound to; empty: any."""

    claim: str
    phase: str
    size: str
    storage_class: str
    nodes: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedConfigMap:
    """The ConfigMap pypi-mirror-env in a namespace that the mirror was published in."""

    namespace: str
    state: str  # right, stale, missing, foreign, no namespace
    url: str = ""  # the index URL in it


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """The mirror, by its record and its objects; all empty if there never was one.

    ``recorded_address`` is the address that workloads use, ``service_address`` the one that the
    Service has now. ``replicas`` is None if there is no StatefulSet.
    """

    namespace: str
    recorded_address: str = field(default="", metadata=json_key("promised"))
    port: int = 0
    url: str = ""
    service_address: str = field(default="", metadata=json_key("service"))
    families: tuple[str, ...] = ()
    replicas: int | None = field(default=None, metadata=json_key("wanted"))
    ready: bool = False
    node: str = ""
    image: str = ""
    recorded_image: str = ""
    trouble: tuple[str, ...] = ()
    error_lines: tuple[str, ...] = field(default=(), metadata=json_key("said"))  # of its logs
    volume: VolumeClaim | None = None
    published: tuple[PublishedConfigMap, ...] = ()
    record_trouble: str = ""  # why the record cannot be read

    @property
    def ever_existed(self) -> bool:
        """Whether there is, or was, a mirror."""
        return bool(self.recorded_address or self.replicas is not None or self.record_trouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorObjects:
    """The mirror's objects; None for one that does not exist."""

    record_map: Object | None
    service: Object | None
    stateful_set: Object | None
    pod: Object | None
    claim: Object | None


def read_mirror_objects(cluster: Cluster, namespace: str) -> MirrorObjects:
    """Return the objects of the mirror in this namespace."""
    return MirrorObjects(
        record_map=cluster.get("ConfigMap", RECORD_MAP, namespace),
        service=cluster.get("Service", NAME, namespace),
        stateful_set=cluster.get("StatefulSet", NAME, namespace),
        pod=cluster.get("Pod", POD_NAME, namespace),
        claim=cluster.get("PersistentVolumeClaim", CLAIM_NAME, namespace),
    )


def read_mirror(cluster: Cluster, namespace: str) -> MirrorState:
    """Return all that the API shows about the mirror in this namespace."""
    objects = read_mirror_objects(cluster, namespace)
    record, record_trouble = _parse_record(objects.record_map, namespace)
    service = (objects.service or {}).get("spec", {})
    stateful_set, pod = objects.stateful_set, objects.pod
    ready = bool(stateful_set and stateful_set.get("status", {}).get("readyReplicas"))
    replicas = stateful_set["spec"].get("replicas", 1) if stateful_set else None
    explanation: list[str] = []
    if replicas and not ready:
        explanation = explain_pod(cluster, namespace, POD_NAME).splitlines()
        if pod is None:  # a quota or an admission policy refuses it
            explanation += list_warnings(cluster, namespace, "StatefulSet", NAME)
    return MirrorState(
        namespace=namespace,
        recorded_address=record.cluster_ip or "",
        port=record.port,
        url=record.endpoint.url if record.endpoint else "",
        service_address=service.get("clusterIP", ""),
        families=tuple(service.get("ipFamilies", ())),
        replicas=replicas,
        ready=ready,
        node=(pod or {}).get("spec", {}).get("nodeName", ""),
        image=get_image(stateful_set) if stateful_set else "",
        recorded_image=record.image or "",
        trouble=tuple(mask_text(line) for line in explanation),
        error_lines=tuple(_read_disk_errors(cluster, pod)) if pod else (),
        volume=_describe_claim(cluster, objects.claim) if objects.claim else None,
        published=tuple(_read_published(cluster, namespace, record)),
        record_trouble=record_trouble,
    )


def _parse_record(record_map: Object | None, namespace: str) -> tuple[MirrorRecord, str]:
    """Return the record of `mirror up`, and why it cannot be read."""
    try:
        return parse_record(record_map, namespace), ""
    except RefusedError as error:
        return MirrorRecord(), f"ConfigMap {namespace}/{RECORD_MAP}: {error.why}"


def _read_disk_errors(cluster: Cluster, pod: Object) -> Iterator[str]:
    """Yield the last lines of each container's log that report a full or broken disk."""
    namespace = pod["metadata"]["namespace"]
    for container in get_containers(pod):
        log = cluster.tail_log(namespace, get_name(pod), container["name"], lines=100)
        lines = [line for line in log.splitlines() if any(text in line for text in _DISK_ERRORS)]
        yield from (f"{container['name']}: {mask_text(line.strip())[:200]}" for line in lines[-2:])


def _describe_claim(cluster: Cluster, claim: Object) -> VolumeClaim:
    phase = claim.get("status", {}).get("phase", "Unknown")
    return VolumeClaim(
        claim=CLAIM_NAME,
        phase=phase,
        size=claim["spec"].get("resources", {}).get("requests", {}).get("storage", ""),
        storage_class=claim["spec"].get("storageClassName", ""),
        nodes=read_volume_nodes(cluster, claim),
        trouble=""
        if phase == "Bound"
        else explain_claim(cluster, claim["metadata"]["namespace"], CLAIM_NAME),
    )


def _read_published(
    cluster: Cluster, mirror_namespace: str, record: MirrorRecord
) -> Iterator[PublishedConfigMap]:
    environment = record.endpoint.environment() if record.endpoint else {}
    mirror = read_identity(cluster, mirror_namespace)
    try:
        namespaces = read_published_namespaces(cluster, mirror_namespace, record)
    except RefusedError:
        return
    for namespace in namespaces:
        config_map = cluster.get("ConfigMap", ENV_MAP, namespace)
        data = (config_map or {}).get("data") or {}
        if config_map is None:
            exists = cluster.get("Namespace", namespace) is not None
            state = "missing" if exists else "no namespace"
        elif find_owner(cluster, config_map, mirror, record).whose != "ours":
            state = "foreign"
        else:
            state = "right" if data == environment else "stale"
        url = mask_text(data.get("UV_DEFAULT_INDEX", ""))
        yield PublishedConfigMap(namespace=namespace, state=state, url=url)


def find_probe_image(cluster: Cluster, namespace: str) -> str | None:
    """Return the running mirror's image: the nodes have it, and it contains the probes."""
    try:
        stateful_set = cluster.get("StatefulSet", NAME, namespace)
    except ApiError:
        return None
    return get_image(stateful_set) if stateful_set else None
