"""The mirror by its record and its objects, and what was published of it. No Secret is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from deploy.cluster.client import Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod
from deploy.cluster.objects import get_image, read_volume_nodes
from deploy.evidence.masking import mask_text
from deploy.manifests.model import CLAIM_NAME, ENV_MAP, NAME, POD_NAME, RECORD_MAP, is_ours
from mirror.settings import DEFAULT_PORT, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeClaim:
    """The mirror's claim. ``nodes`` are those that its volume is bound to; empty: any."""

    claim: str
    phase: str
    size: str
    storage_class: str
    nodes: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedConfigMap:
    """The environment ConfigMap in a namespace of workloads. ``state``: what it is against ours."""

    namespace: str
    state: str  # right, stale, missing, foreign, no namespace
    url: str = ""  # that it gives


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """The mirror by its record and its objects. All empty where there never was one.

    ``promised`` is the address that workloads were given, ``service`` the one that is there now.
    """

    namespace: str
    promised: str = ""
    port: int = 0
    url: str = ""
    service: str = ""
    families: tuple[str, ...] = ()
    wanted: int | None = None  # replicas; None: there is no StatefulSet
    ready: bool = False
    node: str = ""
    image: str = ""
    recorded_image: str = ""
    trouble: tuple[str, ...] = ()
    said: tuple[str, ...] = ()  # last lines of its containers that tell of an error
    volume: VolumeClaim | None = None
    published: tuple[PublishedConfigMap, ...] = ()
    record_trouble: str = ""

    @property
    def ever_existed(self) -> bool:
        """Whether there is, or was, a mirror."""
        return bool(self.promised or self.wanted is not None or self.record_trouble)


_KEY = "record.json"
_WORDS = ("No space left", "database or disk is full", "disk I/O error", "readonly database")


def read_mirror(cluster: Cluster, namespace: str) -> MirrorState:
    """All that the API shows of it."""
    record, record_trouble = _record(cluster, namespace)
    promised = str(record.get("cluster_ip") or "")
    port = int(record.get("port") or DEFAULT_PORT)
    endpoint = Endpoint(address=IPv4Address(promised), port=port) if promised else None
    service = (cluster.get("Service", NAME, namespace) or {}).get("spec", {})
    held = cluster.get("StatefulSet", NAME, namespace)
    pod = cluster.get("Pod", POD_NAME, namespace)
    ready = bool(held and held.get("status", {}).get("readyReplicas"))
    wanted = held["spec"].get("replicas", 1) if held else None
    troubled = bool(wanted) and not ready
    explained = explain_pod(cluster, namespace, POD_NAME) if troubled else ""
    return MirrorState(
        namespace=namespace,
        promised=promised,
        port=port,
        url=endpoint.url if endpoint else "",
        service=service.get("clusterIP", ""),
        families=tuple(service.get("ipFamilies", ())),
        wanted=wanted,
        ready=ready,
        node=(pod or {}).get("spec", {}).get("nodeName", ""),
        image=get_image(held) if held else "",
        recorded_image=str(record.get("image") or ""),
        trouble=tuple(mask_text(line) for line in explained.splitlines()),
        said=tuple(_said(cluster, pod)) if pod else (),
        volume=_volume(cluster, namespace),
        published=tuple(_published(cluster, record, endpoint)),
        record_trouble=record_trouble,
    )


def _record(cluster: Cluster, namespace: str) -> tuple[dict[str, Any], str]:
    """What `mirror up` wrote down, and why it cannot be read."""
    held = cluster.get("ConfigMap", RECORD_MAP, namespace)
    if held is None:
        return {}, ""
    try:
        told = json.loads(held["data"][_KEY])
        if told["cluster_ip"]:
            IPv4Address(told["cluster_ip"])
        return dict(told), ""
    except (KeyError, ValueError, TypeError) as broken:
        return {}, f"ConfigMap {namespace}/{RECORD_MAP}: {type(broken).__name__}: {broken}"


def _said(cluster: Cluster, pod: Object) -> Iterator[str]:
    """Lines of its logs that tell of a full or broken disk."""
    meta = pod["metadata"]
    for one in pod["spec"]["containers"]:
        log = cluster.tail_log(meta["namespace"], meta["name"], one["name"], lines=100)
        found = [line for line in log.splitlines() if any(word in line for word in _WORDS)]
        yield from (f"{one['name']}: {mask_text(line.strip())[:200]}" for line in found[-2:])


def _volume(cluster: Cluster, namespace: str) -> VolumeClaim | None:
    claim = cluster.get("PersistentVolumeClaim", CLAIM_NAME, namespace)
    if claim is None:
        return None
    phase = claim.get("status", {}).get("phase", "Unknown")
    trouble = "" if phase == "Bound" else explain_claim(cluster, namespace, CLAIM_NAME)
    return VolumeClaim(
        claim=CLAIM_NAME,
        phase=phase,
        size=claim["spec"].get("resources", {}).get("requests", {}).get("storage", ""),
        storage_class=claim["spec"].get("storageClassName", ""),
        nodes=read_volume_nodes(cluster, claim),
        trouble=trouble,
    )


def _published(
    cluster: Cluster, record: dict[str, Any], endpoint: Endpoint | None
) -> Iterator[PublishedConfigMap]:
    wanted = endpoint.environment() if endpoint else {}
    for target in record.get("published", ()):
        held = cluster.get("ConfigMap", ENV_MAP, target)
        data = (held or {}).get("data") or {}
        if held is None:
            gone = cluster.get("Namespace", target) is None
            state = "no namespace" if gone else "missing"
        elif not is_ours(held):
            state = "foreign"
        else:
            state = "right" if data == wanted else "stale"
        yield PublishedConfigMap(
            namespace=target, state=state, url=mask_text(data.get("UV_DEFAULT_INDEX", ""))
        )
