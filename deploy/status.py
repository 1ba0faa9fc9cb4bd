"""`mirror status`: what is there, and whether it is well."""

from __future__ import annotations

from dataclasses import dataclass

from deploy import reach, record
from deploy.cluster.client import Cluster
from deploy.cluster.explain import explain_claim, explain_pod
from deploy.manifests.model import CLAIM, NAME, POD
from deploy.preflight import is_ready
from mirror.core.errors import MirrorError
from mirror.settings import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``state``: running, starting, stopped (packages kept), absent, or drifted."""

    context: str
    namespace: str
    state: str
    endpoint: Endpoint | None
    image: str | None
    version: str | None  # of devpi-server
    node: str | None  # that runs the mirror and, with a local volume, holds its packages
    volume: str | None  # phase, size and storage class
    published: tuple[str, ...]
    trouble: tuple[str, ...]  # what is wrong, in words


def status(cluster: Cluster, namespace: str) -> Status:
    """Look, change nothing."""
    cluster.version()
    kept = record.read(cluster, namespace)
    service = cluster.get("Service", NAME, namespace)
    claim = cluster.get("PersistentVolumeClaim", CLAIM, namespace)
    pod = cluster.get("Pod", POD, namespace)
    held = cluster.get("StatefulSet", NAME, namespace)
    trouble: list[str] = []
    version = None
    if held is None:
        state = "stopped" if kept.cluster_ip else "absent"
    elif held.get("status", {}).get("readyReplicas") == 1:
        state = "running"
    else:
        state = "starting"
        trouble += explain_pod(cluster, namespace, POD).splitlines()
        trouble += explain_claim(cluster, namespace, CLAIM).splitlines()
    if kept.cluster_ip and (not service or service["spec"].get("clusterIP") != kept.cluster_ip):
        state = "drifted"
        now = service["spec"].get("clusterIP") if service else "none (the Service is gone)"
        trouble.append(
            f"workloads were given {kept.cluster_ip}, the Service has {now}: run `mirror up`"
        )
    if state == "running" and kept.endpoint:
        try:
            with reach.client(cluster, namespace, kept.endpoint) as client:
                version = client.server_version()
        except MirrorError as broken:
            state = "broken"
            trouble.append(str(broken))
    node = pod["spec"].get("nodeName") if pod else None
    if node:
        about = cluster.get("Node", node)
        if about is None or not is_ready(about):
            trouble.append(f"node {node}, which runs the mirror, is not Ready")
    volume = None
    if claim:
        size = claim["spec"]["resources"]["requests"]["storage"]
        phase = claim.get("status", {}).get("phase", "Unknown")
        volume = f"{phase}, {size}, {claim['spec'].get('storageClassName', 'no class')}"
    return Status(
        context=cluster.context,
        namespace=namespace,
        state=state,
        endpoint=kept.endpoint,
        image=held["spec"]["template"]["spec"]["containers"][0]["image"] if held else kept.image,
        version=version,
        node=node,
        volume=volume,
        published=kept.published,
        trouble=tuple(trouble),
    )
