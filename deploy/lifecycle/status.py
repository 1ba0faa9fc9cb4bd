"""`mirror status`: the state of the mirror, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from deploy.cluster.client import Cluster, Object
from deploy.cluster.explain import explain_claim, explain_pod
from deploy.cluster.objects import get_container_statuses, get_image, is_ready, read_volume_nodes
from deploy.evidence.mirror import read_mirror_objects
from deploy.evidence.publications import read_published_namespaces
from deploy.lifecycle import connect
from deploy.manifests.image_versions import get_image_version
from deploy.manifests.model import CLAIM_NAME, POD_NAME
from deploy.manifests.record import parse_record
from mirror.cache_status import CacheStatus
from mirror.core.errors import MirrorError
from mirror.settings import Endpoint
from mirror.version import VERSION

_PROBES_PER_SECOND = 1 / 2 + 1 / 10  # readiness and liveness probe of the proxy's container


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorStatus:
    """The state of the mirror.

    ``state`` is running, starting, broken (it does not answer), stopped (its packages are kept),
    absent, or drifted (the Service has another address than the recorded one).
    """

    context: str
    namespace: str
    state: str
    endpoint: Endpoint | None
    image: str | None
    version: str | None  # of devpi-server
    node: str | None  # where the mirror's pod runs
    volume: str | None  # phase, size and storage class
    holder: str | None  # the node that the volume is bound to; None: it can follow the pod
    command: str  # version of this program
    figures: CacheStatus | None
    published: tuple[str, ...]
    trouble: tuple[str, ...]  # what is wrong, one sentence each


def read_status(cluster: Cluster, namespace: str) -> MirrorStatus:
    cluster.version()
    objects = read_mirror_objects(cluster, namespace)
    mirror_record = parse_record(objects.record_map, namespace)
    claim, pod, stateful_set = objects.claim, objects.pod, objects.stateful_set
    trouble: list[str] = []
    if stateful_set is None:
        state = "stopped" if mirror_record.cluster_ip else "absent"
    elif stateful_set.get("status", {}).get("readyReplicas") == 1:
        state = "running"
    else:
        state = "starting"
        trouble += explain_pod(cluster, namespace, POD_NAME).splitlines()
        trouble += explain_claim(cluster, namespace, CLAIM_NAME).splitlines()
    address = (objects.service or {}).get("spec", {}).get("clusterIP")
    if mirror_record.cluster_ip and address != mirror_record.cluster_ip:
        state = "drifted"
        trouble.append(
            f"workloads use {mirror_record.cluster_ip}, the Service has "
            f"{address or 'no address (it is gone)'}: run `mirror up`"
        )
    version = cache = None
    if state == "running" and mirror_record.endpoint:
        try:
            with connect.open_client(cluster, namespace, mirror_record.endpoint) as client:
                version = client.get_server_version()
                cache = client.read_stats(_estimate_probe_requests(pod))
        except MirrorError as error:
            state = "broken"
            trouble.append(str(error))
    node = pod["spec"].get("nodeName") if pod else None
    volume_nodes = read_volume_nodes(cluster, claim) if claim else ()
    holder = volume_nodes[0] if len(volume_nodes) == 1 else None
    image = get_image(stateful_set) if stateful_set else mirror_record.image
    trouble += _find_node_trouble(cluster, node, holder)
    trouble += _find_cache_trouble(cache, claim, holder)
    trouble += _find_version_trouble(image)
    return MirrorStatus(
        context=cluster.context,
        namespace=namespace,
        state=state,
        endpoint=mirror_record.endpoint,
        image=image,
        version=version,
        node=node,
        volume=_describe_volume(claim) if claim else None,
        holder=holder,
        command=VERSION,
        figures=cache,
        published=read_published_namespaces(cluster, namespace, mirror_record),
        trouble=tuple(trouble),
    )


def _describe_volume(claim: Object) -> str:
    phase = claim.get("status", {}).get("phase", "Unknown")
    return f"{phase}, {_get_size(claim)}, {claim['spec'].get('storageClassName', 'no class')}"


def _get_size(claim: Object) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def _find_node_trouble(cluster: Cluster, node: str | None, holder: str | None) -> Iterator[str]:
    for name, role in {node: "runs the mirror", holder: "holds its volume"}.items():
        if name is None:
            continue
        obj = cluster.get("Node", name)
        if obj is None:
            yield f"node {name}, which {role}, is gone from the cluster"
        elif not is_ready(obj):
            yield f"node {name}, which {role}, is not Ready"


def _find_cache_trouble(
    cache: CacheStatus | None, claim: Object | None, holder: str | None
) -> Iterator[str]:
    if cache is not None and cache.is_full and claim is not None:
        disk = f"the disk of node {holder}" if holder else "its disk"
        yield (
            f"the volume is full: claim {CLAIM_NAME} ({_get_size(claim)}) has "
            f"{cache.free / 1e6:.0f} MB free of {cache.volume / 1e9:.1f} GB. Cached packages are "
            f"still served, new ones are not stored. Free space on {disk}, or enlarge the volume: "
            "`mirror up --size` (if the storage class can expand volumes)"
        )
    if cache is not None and cache.lost:
        yield cache.lost_uploads_message


def _find_version_trouble(image: str | None) -> Iterator[str]:
    image_version, version = get_image_version(image or ""), VERSION
    if image_version not in (None, version):
        yield f"the image is of version {image_version}, this command of {version}: run `mirror up`"


def _estimate_probe_requests(pod: Object | None) -> float:
    """Estimate how many requests the kubelet's probes have sent since the proxy started."""
    for status in get_container_statuses(pod or {}):
        running = status.get("state", {}).get("running")
        if status["name"] == "front" and running:
            age = datetime.now(UTC) - datetime.fromisoformat(running["startedAt"])
            return age.total_seconds() * _PROBES_PER_SECOND
    return 0.0
