"""`mirror status`: what is there, and whether it is well."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod
from deploy.cluster.objects import is_ready
from deploy.lifecycle import connect, record
from deploy.manifests.model import CLAIM_NAME, NAME, POD_NAME
from mirror.cache_status import CacheStatus
from mirror.core.errors import MirrorError
from mirror.settings import Endpoint

PROBES_PER_SECOND = 1 / 2 + 1 / 10  # readiness and liveness, as the front's container has them


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorStatus:
    """``state``: running, starting, stopped (packages kept), absent, or drifted."""

    context: str
    namespace: str
    state: str
    endpoint: Endpoint | None
    image: str | None
    version: str | None  # of devpi-server
    node: str | None  # that runs the mirror and, with a local volume, holds its packages
    volume: str | None  # phase, size and storage class
    holder: str | None  # the node that the volume is tied to; None: it can follow the pod
    command: str  # version of the program that asks
    figures: CacheStatus | None
    published: tuple[str, ...]
    trouble: tuple[str, ...]  # what is wrong, in words


def read_status(cluster: Cluster, namespace: str) -> MirrorStatus:
    """Look, change nothing."""
    cluster.version()
    kept = record.read(cluster, namespace)
    service = cluster.get("Service", NAME, namespace)
    claim = cluster.get("PersistentVolumeClaim", CLAIM_NAME, namespace)
    pod = cluster.get("Pod", POD_NAME, namespace)
    held = cluster.get("StatefulSet", NAME, namespace)
    trouble: list[str] = []
    version = figures = None
    if held is None:
        state = "stopped" if kept.cluster_ip else "absent"
    elif held.get("status", {}).get("readyReplicas") == 1:
        state = "running"
    else:
        state = "starting"
        trouble += explain_pod(cluster, namespace, POD_NAME).splitlines()
        trouble += explain_claim(cluster, namespace, CLAIM_NAME).splitlines()
    if kept.cluster_ip and (not service or service["spec"].get("clusterIP") != kept.cluster_ip):
        state = "drifted"
        now = service["spec"].get("clusterIP") if service else "none (the Service is gone)"
        trouble.append(
            f"workloads were given {kept.cluster_ip}, the Service has {now}: run `mirror up`"
        )
    if state == "running" and kept.endpoint:
        try:
            with connect.open_client(cluster, namespace, kept.endpoint) as client:
                version = client.get_server_version()
                figures = client.read_stats(_probes(pod))
        except MirrorError as broken:
            state = "broken"
            trouble.append(str(broken))
    node = pod["spec"].get("nodeName") if pod else None
    holder = _holder(cluster, claim)
    for name, does in {node: "runs the mirror", holder: "holds its volume"}.items():
        about = cluster.get("Node", name) if name else None
        if name and about is None:
            trouble.append(f"node {name}, which {does}, is gone from the cluster")
        elif about is not None and not is_ready(about):
            trouble.append(f"node {name}, which {does}, is not Ready")
    image = held["spec"]["template"]["spec"]["containers"][0]["image"] if held else kept.image
    trouble += _full(figures, claim, holder) + _lost(figures) + _behind(image)
    volume = None
    if claim:
        size = claim["spec"]["resources"]["requests"]["storage"]
        phase = claim.get("status", {}).get("phase", "Unknown")
        volume = f"{phase}, {size}, {claim['spec'].get('storageClassName', 'no class')}"
    return MirrorStatus(
        context=cluster.context,
        namespace=namespace,
        state=state,
        endpoint=kept.endpoint,
        image=image,
        version=version,
        node=node,
        volume=volume,
        holder=holder,
        command=_version(),
        figures=figures,
        published=kept.published,
        trouble=tuple(trouble),
    )


def _holder(cluster: Cluster, claim: Object | None) -> str | None:
    """The node of a local volume, by its node affinity."""
    name = claim["spec"].get("volumeName") if claim else None
    try:
        held = cluster.get("PersistentVolume", name) if name else None
    except ApiError:
        return None  # not everybody may see volumes
    terms = ((held or {}).get("spec", {}).get("nodeAffinity") or {}).get("required") or {}
    names = {
        value
        for term in terms.get("nodeSelectorTerms", [])
        for one in term.get("matchExpressions", [])
        if one["key"] == "kubernetes.io/hostname"
        for value in one.get("values", [])
    }
    return names.pop() if len(names) == 1 else None


def _full(figures: CacheStatus | None, claim: Object | None, holder: str | None) -> list[str]:
    if figures is None or not figures.is_full or claim is None:
        return []
    asked = claim["spec"]["resources"]["requests"]["storage"]
    where = f" on node {holder}" if holder else ""
    return [
        f"the volume is full: claim {CLAIM_NAME} ({asked}) has {figures.free / 1e6:.0f} MB free of "
        f"{figures.volume / 1e9:.1f} GB. What is cached is still served, new packages are not "
        f"kept. Make room on its disk{where}, or give it more: `mirror up --size` (where the "
        "storage class can expand)"
    ]


def _lost(figures: CacheStatus | None) -> list[str]:
    return [] if figures is None else [figures.lost_uploads_message] * bool(figures.lost)


def _behind(image: str | None) -> list[str]:
    """An image of ours that another version of this program made."""
    found = re.search(r"(?:^|/)pypi-mirror:(\d[\w.]*?)-[0-9a-f]{12}(?:@|$)", image or "")
    here = _version()
    if found is None or found[1] == here:
        return []
    return [f"the image is of version {found[1]}, this command of {here}: run `mirror up`"]


def _version() -> str:
    try:
        return metadata.version("pypi-mirror")
    except metadata.PackageNotFoundError:
        return "unknown"


def _probes(pod: Object | None) -> float:
    """About how many of the front's requests were the kubelet's own since it started."""
    states = (pod or {}).get("status", {}).get("containerStatuses", [])
    begun = [
        one["state"]["running"]["startedAt"]
        for one in states
        if one["name"] == "front" and "running" in one.get("state", {})
    ]
    if not begun:
        return 0.0
    since = datetime.fromisoformat(begun[0])
    return (datetime.now(UTC) - since).total_seconds() * PROBES_PER_SECOND
