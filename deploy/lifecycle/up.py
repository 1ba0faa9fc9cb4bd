"""`mirror up`: from nothing to packages in pods on every node, in one straight line."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.cluster import cidrs
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import is_ready
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.lifecycle import connect, preflight, publish, record, rollout
from deploy.lifecycle import image as image_module
from deploy.manifests.mirror_objects import (
    render_namespace,
    render_objects,
    render_secret,
    render_service,
)
from deploy.manifests.model import CA_MAP, NAME, ClusterSettings, is_ours
from deploy.manifests.pods import render_probe_pod
from mirror.core.errors import RefusedError, UnfitError
from mirror.core.progress import Progress
from mirror.settings import Endpoint

_PROBE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """What the user gave now; None means: as it was, or the default."""

    namespace: str
    options: Mapping[str, Any]  # fields of ClusterSettings that are kept between runs
    ca_pem: str | None = None
    new_address: bool = False
    probe_package: str = "iniconfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProbe:
    """Whether a pod on this node could install a package from the index."""

    node: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpResult:
    """A mirror that works: its address, where it runs, and what proved it."""

    context: str
    namespace: str
    endpoint: Endpoint
    image: str
    node: str
    probes: tuple[NodeProbe, ...]
    not_ready: tuple[str, ...]  # nodes that could not be probed
    seconds: float  # from the first write until the index could be used


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """One object and what `up` would do to it."""

    kind: str
    name: str
    action: str  # create, change or nothing


def bring_up(
    cluster: Cluster,
    request: UpRequest,
    image_request: image_module.ImageRequest,
    progress: Progress,
) -> UpResult:
    """Bring the mirror to these settings and prove it from every node. Idempotent.

    The image is on the nodes, or can be pulled, before anything is written to the cluster.
    """
    settings, kept, ground = _settle(cluster, request, image_request, progress)
    begun = time.monotonic()
    progress.step("apply the objects")
    _ensure_namespace(cluster, request.namespace)
    endpoint = _address(cluster, settings, kept)
    settings = replace(settings, cluster_ip=str(endpoint.address))
    _ensure_secret(cluster, request.namespace)
    for obj in render_objects(settings):
        if obj["kind"] != "Namespace":  # seen to above: it may be somebody else's
            cluster.apply(obj)
    rollout.delete_failed_pod(cluster, request.namespace)
    progress.step("wait until the mirror is ready")
    pod = rollout.wait_until_ready(cluster, request.namespace)
    progress.step("make the indexes")
    with connect.open_client(cluster, request.namespace, endpoint) as client:
        client.login("root", connect.read_root_password(cluster, request.namespace))
        client.ensure_indexes(settings.upstream)
    publish.refresh_environment(cluster, request.namespace, endpoint)
    seconds = round(time.monotonic() - begun, 1)
    return UpResult(
        context=cluster.context,
        namespace=request.namespace,
        endpoint=endpoint,
        image=settings.image,
        node=pod["spec"]["nodeName"],
        probes=_probe(cluster, settings, ground, endpoint, request.probe_package, progress),
        not_ready=tuple(node["metadata"]["name"] for node in ground.nodes if not is_ready(node)),
        seconds=seconds,
    )


def plan_up(
    cluster: Cluster,
    request: UpRequest,
    image_request: image_module.ImageRequest,
    progress: Progress,
) -> tuple[tuple[PlannedObject, ...], tuple[Object, ...]]:
    """What `up` would do, by the API server's own dry run; nothing is written."""
    settings, _, _ = _settle(cluster, request, image_request, progress, dry_run=True)
    exists = cluster.get("Namespace", request.namespace) is not None
    steps = []
    wanted = render_objects(settings)
    for obj in wanted:
        meta = obj["metadata"]
        now = cluster.get(obj["kind"], meta["name"], meta.get("namespace"))
        if now is None:
            action = "create"
        elif (obj["kind"] == "Namespace" and not is_ours(now)) or _same(
            cluster.apply(obj, dry_run=True), now
        ):
            action = "nothing"
        else:
            action = "change"
        steps.append(PlannedObject(kind=obj["kind"], name=meta["name"], action=action))
    held = exists and cluster.get("Secret", NAME, request.namespace)
    steps.append(PlannedObject(kind="Secret", name=NAME, action="nothing" if held else "create"))
    return tuple(steps), wanted


def _same(one: Object, other: Object) -> bool:
    """Equal but for the server's bookkeeping."""

    def content(obj: Object) -> Object:
        meta = obj["metadata"]
        kept = {key: meta.get(key) for key in ("name", "namespace", "labels", "annotations")}
        return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": kept}

    return content(one) == content(other)


def _settle(
    cluster: Cluster,
    request: UpRequest,
    wish: image_module.ImageRequest,
    progress: Progress,
    *,
    dry_run: bool = False,
) -> tuple[ClusterSettings, record.MirrorRecord, preflight.ClusterState]:
    """Everything that can be known before the first write."""
    progress.step(f"check context {cluster.context} ({cluster.server})")
    cluster.version()
    remembered = record.read(cluster, request.namespace)
    options = {**remembered.settings, **request.options}
    settings = ClusterSettings(image="", namespace=request.namespace, **options)
    wanted = preflight.Requirements(
        namespace=request.namespace,
        storage_class=settings.storage_class,
        size=settings.size,
        node=settings.node,
    )
    ground = preflight.check_cluster(cluster, wanted)
    authority = request.ca_pem or _held_authority(cluster, request.namespace)
    if dry_run:
        image = image_module.predict_reference(cluster, wish, remembered.image, progress)
    else:
        image = image_module.ensure_image(
            cluster, wish, ground, progress, previous=remembered.image, ca_pem=authority
        )
    kept = record.MirrorRecord(
        cluster_ip=None if request.new_address else remembered.cluster_ip,
        port=settings.port,
        image=image,
        settings=options,
        published=remembered.published,
    )
    settings = replace(
        settings,
        image=image,
        cluster_ip=kept.cluster_ip,
        ca_pem=authority,
        cluster_cidrs=cidrs.find_cluster_cidrs(cluster, list(ground.nodes)),
    )
    return settings, kept, ground


def _held_authority(cluster: Cluster, namespace: str) -> str | None:
    """The certificates of an earlier `up`: an option that was given once stays."""
    held = cluster.get("ConfigMap", CA_MAP, namespace)
    return held["data"]["ca.crt"] if held else None


def _address(cluster: Cluster, settings: ClusterSettings, kept: record.MirrorRecord) -> Endpoint:
    """The Service, with the address that was promised, and the promise written down."""
    now = cluster.get("Service", NAME, settings.namespace)
    if now and kept.cluster_ip and now["spec"].get("clusterIP") != kept.cluster_ip:
        # somebody made it again without the address; an address cannot be changed in place
        cluster.delete("Service", NAME, settings.namespace)
    try:
        made = cluster.apply(render_service(settings))
    except ApiError as refusal:
        if kept.cluster_ip and "already allocated" in refusal.why:
            raise _taken(cluster, kept.cluster_ip) from refusal
        raise
    kept = replace(kept, cluster_ip=made["spec"]["clusterIP"])
    record.write(cluster, settings.namespace, kept)
    assert kept.endpoint is not None
    return kept.endpoint


def _taken(cluster: Cluster, address: str) -> RefusedError:
    holders = [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in cluster.list("Service")
        if address in one["spec"].get("clusterIPs", [])
    ]
    holder = holders[0] if holders else "another Service"
    return RefusedError(
        f"the mirror's address {address} was taken meanwhile by Service {holder}",
        why="workloads were given this address; the mirror must come back at the same one",
        next_step="delete that Service and run `mirror up` again, or give the promise up with "
        "`mirror up --new-address` (published ConfigMaps follow, running pods do not)",
    )


def _ensure_namespace(cluster: Cluster, name: str) -> None:
    """Make it, or keep ours as it should be; somebody else's is used as it is, unlabelled."""
    held = cluster.get("Namespace", name)
    if held is None or is_ours(held):
        cluster.apply(render_namespace(name))


def _ensure_secret(cluster: Cluster, namespace: str) -> None:
    """Random, made once; a second `up` leaves it alone."""
    if cluster.get("Secret", NAME, namespace) is not None:
        return
    values = {key: secrets.token_urlsafe(48) for key in ("root-password", "secretfile")}
    try:
        cluster.create(render_secret(namespace, values))
    except ApiError as refusal:
        if refusal.status != 409:
            raise


def _probe(
    cluster: Cluster,
    settings: ClusterSettings,
    ground: preflight.ClusterState,
    endpoint: Endpoint,
    package: str,
    progress: Progress,
) -> tuple[NodeProbe, ...]:
    """Install one package on every Ready node with the static musl uv, from a fresh pod."""
    nodes = [node["metadata"]["name"] for node in ground.ready_nodes]
    progress.step(f"install {package} from a pod on each node")
    command = ["/opt/probe/uv", "pip", "install", "--no-cache", "--no-deps", "--target", "/tmp/out"]
    command += ["--python", "/opt/mirror/bin/python3", "--default-index", endpoint.url, package]
    mark = secrets.token_hex(3)
    pods = [
        render_probe_pod(settings, name=f"{NAME}-probe-{mark}-{number}", node=node, command=command)
        for number, node in enumerate(nodes)
    ]
    deadline = cluster.deadline.within(_PROBE_SECONDS)
    runs = run_pods(cluster, pods, deadline, lambda done: progress.count(done, len(pods)))
    probes = tuple(NodeProbe(node=run.node, ok=run.succeeded, why=_probe_why(run)) for run in runs)
    failed = [probe for probe in probes if not probe.ok]
    if failed:
        raise UnfitError(
            "the mirror runs, but pods cannot install from it on "
            + ", ".join(probe.node for probe in failed),
            why="\n".join(f"{probe.node}: {probe.why}" for probe in failed),
            next_step="mend what is said above and run `mirror up` again; `mirror doctor` may help",
        )
    return probes


def _probe_why(run: PodRun) -> str:
    return "" if run.succeeded else (run.why or run.output.strip()[-600:])
