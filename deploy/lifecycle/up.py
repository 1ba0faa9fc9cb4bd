"""`mirror up`: start the mirror, or change its settings, and prove it from every node."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.cluster.cidrs import find_cluster_cidrs
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import get_name, is_ready
from deploy.evidence.agent_image import record_agent_image
from deploy.lifecycle import connect, image, publish, record, rollout
from deploy.lifecycle.node_probe import NodeProbe, probe_nodes
from deploy.lifecycle.preflight import check_admission, check_cluster
from deploy.manifests import mirror_objects
from deploy.manifests.image_versions import has_0_1_modules
from deploy.manifests.model import CA_MAP, NAME, ClusterSettings, is_ours
from deploy.manifests.record import MirrorRecord
from mirror.core.errors import RefusedError, UnfitError
from mirror.core.progress import Progress
from mirror.settings import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """The options of this `mirror up`; what is not given stays as it was, or is the default."""

    namespace: str
    options: Mapping[str, Any]  # the fields of ClusterSettings that the record keeps
    ca_pem: str | None = None
    new_address: bool = False
    probe_package: str = "iniconfig"


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
    agent_image: str | None  # of node agents, if this command was given the image or built it
    seconds: float  # from the first write until the index could be used


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedObject:
    """One object, and what `mirror up` would do to it."""

    kind: str
    name: str
    action: str  # create, change or nothing


def bring_up(
    cluster: Cluster, request: UpRequest, image_request: image.ImageRequest, progress: Progress
) -> UpResult:
    """Start the mirror with the requested settings and prove it from every node; idempotent.

    Nothing is written to the cluster before the nodes have the image, or can pull it.
    """
    settings, new_record, nodes, is_chosen = _prepare(cluster, request, image_request, progress)
    start = time.monotonic()
    progress.step("apply the objects")
    _ensure_namespace(cluster, request.namespace)
    if new_record.published and publish.adopt_publications(cluster, request.namespace, progress):
        new_record = replace(new_record, published=())
    endpoint = _ensure_service(cluster, settings, new_record)
    settings = replace(settings, cluster_ip=str(endpoint.address))
    _ensure_secret(cluster, request.namespace)
    for obj in mirror_objects.render_objects(settings):
        if obj["kind"] != "Namespace":  # `_ensure_namespace` leaves foreign namespaces alone
            cluster.apply(obj)
    rollout.delete_failed_pod(cluster, request.namespace)
    progress.step("wait until the mirror is ready")
    pod = rollout.wait_until_ready(cluster, request.namespace)
    progress.step("make the indexes")
    with connect.open_client(cluster, request.namespace, endpoint) as client:
        client.login("root", connect.read_root_password(cluster, request.namespace))
        client.ensure_indexes(settings.upstream)
    publish.refresh_environment(cluster, request.namespace, endpoint, progress)
    seconds = round(time.monotonic() - start, 1)
    ready = [node for node in nodes if is_ready(node)]
    probes = probe_nodes(cluster, settings, ready, endpoint.url, request.probe_package, progress)
    if is_chosen:
        _record_agent_image(cluster, settings, probes, progress)
    return UpResult(
        context=cluster.context,
        namespace=request.namespace,
        endpoint=endpoint,
        image=settings.image,
        node=pod["spec"]["nodeName"],
        probes=probes,
        not_ready=tuple(get_name(node) for node in nodes if not is_ready(node)),
        agent_image=settings.image if is_chosen else None,
        seconds=seconds,
    )


def plan_up(
    cluster: Cluster, request: UpRequest, image_request: image.ImageRequest, progress: Progress
) -> tuple[tuple[PlannedObject, ...], tuple[Object, ...]]:
    """What `mirror up` would do to each object, and the objects; writes nothing.

    The API server decides in a dry run whether an object would change.
    """
    settings, _, _, _ = _prepare(cluster, request, image_request, progress, dry_run=True)
    objects = mirror_objects.render_objects(settings)
    plan = [
        PlannedObject(kind=obj["kind"], name=get_name(obj), action=_plan_action(cluster, obj))
        for obj in objects
    ]
    has_namespace = cluster.get("Namespace", request.namespace) is not None
    has_secret = has_namespace and cluster.get("Secret", NAME, request.namespace)
    action = "nothing" if has_secret else "create"
    return (*plan, PlannedObject(kind="Secret", name=NAME, action=action)), objects


def _plan_action(cluster: Cluster, obj: Object) -> str:
    current = cluster.get(obj["kind"], get_name(obj), obj["metadata"].get("namespace"))
    if current is None:
        return "create"
    is_foreign = obj["kind"] == "Namespace" and not is_ours(current)
    if is_foreign or _get_content(cluster.apply(obj, dry_run=True)) == _get_content(current):
        return "nothing"
    return "change"


def _get_content(obj: Object) -> Object:
    """The object without its status and the metadata that the API server manages."""
    keys = ("name", "namespace", "labels", "annotations")
    metadata = {key: obj["metadata"].get(key) for key in keys}
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}


def _prepare(
    cluster: Cluster,
    request: UpRequest,
    image_request: image.ImageRequest,
    progress: Progress,
    *,
    dry_run: bool = False,
) -> tuple[ClusterSettings, MirrorRecord, tuple[Object, ...], bool]:
    """Check the cluster, get the image, and merge the options with the recorded ones.

    The last value says whether this command was given the image or built it.
    """
    progress.step(f"check context {cluster.context} ({cluster.server})")
    cluster.version()
    old_record = record.read(cluster, request.namespace)
    options = {**old_record.settings, **request.options}
    settings = ClusterSettings(image="", namespace=request.namespace, **options)
    _ = settings.rules  # raises InputError for options that do not fit the recorded ones
    nodes = check_cluster(cluster, settings)
    check_admission(cluster, settings)
    ca_map = cluster.get("ConfigMap", CA_MAP, request.namespace)  # of an earlier `mirror up`
    ca_pem = request.ca_pem or ((ca_map or {}).get("data") or {}).get("ca.crt")
    if dry_run:
        reference = image.predict_reference(cluster, image_request, old_record.image, progress)
        is_chosen = False
    else:
        ensured = image.ensure_image(
            cluster, image_request, nodes, progress, previous=old_record.image, ca_pem=ca_pem
        )
        reference, is_chosen = ensured.reference, ensured.is_chosen
    address = None if request.new_address else old_record.cluster_ip
    new_record = replace(
        old_record, cluster_ip=address, port=settings.port, image=reference, settings=options
    )
    stateful_set = cluster.get("StatefulSet", NAME, request.namespace)
    is_0_1 = has_0_1_modules(reference, stateful_set)
    if is_0_1 and not settings.rules.are_plain:
        raise UnfitError(
            "the image is too old for several upstreams and rules for packages",
            why=f"{reference} is of version 0.1",
            next_step="omit --image to build a new one, or give one of this version",
        )
    settings = replace(
        settings,
        image=reference,
        image_is_0_1=is_0_1,
        cluster_ip=address,
        ca_pem=ca_pem,
        cluster_cidrs=find_cluster_cidrs(cluster, nodes),
    )
    return settings, new_record, nodes, is_chosen


def _record_agent_image(
    cluster: Cluster, settings: ClusterSettings, probes: Iterable[NodeProbe], progress: Progress
) -> None:
    """Record the image for node agents, with the digests of all nodes, where no editor writes."""
    ids = [probe.image_id for probe in probes if probe.image_id]
    try:
        record_agent_image(cluster, settings.image, ids, settings.namespace, settings.pull_secret)
    except ApiError as error:
        progress.note(
            "the image is not recorded for node agents, so `mirror fix` needs --image for fixes of "
            f"nodes: {error.why}"
        )


def _ensure_service(
    cluster: Cluster, settings: ClusterSettings, new_record: MirrorRecord
) -> Endpoint:
    """Apply the Service at the recorded address, and write the record with its address.

    Raises RefusedError if another Service has the recorded address.
    """
    address = new_record.cluster_ip
    service = cluster.get("Service", NAME, settings.namespace)
    if service and address and service["spec"].get("clusterIP") != address:
        # somebody recreated the Service; its address cannot be changed in place
        cluster.delete("Service", NAME, settings.namespace)
    try:
        service = cluster.apply(mirror_objects.render_service(settings))
    except ApiError as error:
        if address and "already allocated" in error.why:
            raise _address_taken_error(cluster, address) from error
        raise
    new_record = replace(new_record, cluster_ip=service["spec"]["clusterIP"])
    record.write(cluster, settings.namespace, new_record)
    assert new_record.endpoint is not None
    return new_record.endpoint


def _address_taken_error(cluster: Cluster, address: str) -> RefusedError:
    holders = (
        f"{service['metadata']['namespace']}/{get_name(service)}"
        for service in cluster.list("Service")
        if address in service["spec"].get("clusterIPs", [])
    )
    holder = next(holders, "another Service")
    return RefusedError(
        f"the mirror's address {address} is used by Service {holder} now",
        why="workloads use this address, so the mirror must come back at the same one",
        next_step="delete that Service and run `mirror up` again, or give the address up with "
        "`mirror up --new-address` (published ConfigMaps follow, running pods do not)",
    )


def _ensure_namespace(cluster: Cluster, name: str) -> None:
    """Create or update our namespace; a namespace that is not ours is used as it is."""
    namespace = cluster.get("Namespace", name)
    if namespace is None or is_ours(namespace):
        cluster.apply(mirror_objects.render_namespace(name))


def _ensure_secret(cluster: Cluster, namespace: str) -> None:
    """Create the Secret with random values; an existing one stays as it is."""
    if cluster.get("Secret", NAME, namespace) is not None:
        return
    values = {key: secrets.token_urlsafe(48) for key in ("root-password", "secretfile")}
    try:
        cluster.create(mirror_objects.render_secret(namespace, values))
    except ApiError as error:
        if error.status != 409:
            raise
