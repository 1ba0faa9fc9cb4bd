"""Push to a registry that the nodes pull from: a given one, or the cluster's own as in MicroK8s.

The cluster's own is reached through the API server on 127.0.0.1, from which a Docker engine takes
plain HTTP without being told; nodes know it as localhost:32000.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import format_selector
from deploy.cluster.port_forward import forward_port
from deploy.delivery import DeliveredImage, DeliveryOptions
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.errors import ClusterError, DeliveryError, EngineError, InputError
from mirror.core.progress import Progress

NODE_PORT = 32000  # both of MicroK8s' registry add-on
NAMESPACE = "container-registry"

_HOST = re.compile(r"(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?P<port>:\d+)?(?P<path>(/[a-z0-9._-]+)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDelivery:
    """Pods name the image by tag and digest: they get these very bytes, or none."""

    name: str = "registry"
    order: int = 20
    requirement: str = (
        "give a registry that the Docker engine may push to and the nodes pull from, "
        "--registry HOST[:PORT][/PATH]; on MicroK8s: microk8s enable registry"
    )

    def find_obstacle(self, cluster: Cluster, options: DeliveryOptions) -> str | None:
        if options.registry:
            check_registry(options.registry)
            return None
        try:
            return _find(cluster)[1]
        except ClusterError as refused:
            return f"no --registry was given, and the cluster's own cannot be seen: {refused}"

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Push, and take the name that was needed for it away from the engine again."""
        with self._door(cluster, options) as (push_to, pull_from):
            progress.step(f"push {image.reference} to {pull_from}")
            name = f"{push_to}/{image.reference}"
            engine.tag(image.id, name)
            try:
                digest = engine.push(name, progress)
            except EngineError as broken:
                raise _failed(image, push_to, pull_from, broken) from broken
            finally:
                engine.untag(name)
        reference = f"{pull_from}/{image.reference}@{digest}"
        return DeliveredImage(reference=reference, method=self.name, nodes=())

    @contextmanager
    def _door(self, cluster: Cluster, options: DeliveryOptions) -> Iterator[tuple[str, str]]:
        """Where the engine pushes to, and what nodes call it."""
        if options.registry:
            given = check_registry(options.registry)
            yield given, given
            return
        found, reason = _find(cluster)
        if found is None:
            raise DeliveryError(f"no registry to push to: {reason}", next_step=self.requirement)
        pod, port = found
        with forward_port(cluster, NAMESPACE, pod, port) as local:
            yield f"127.0.0.1:{local}", f"localhost:{NODE_PORT}"


def check_registry(value: str) -> str:
    """HOST[:PORT][/PATH] as Docker reads it, or InputError."""
    told = _HOST.fullmatch(value.rstrip("/"))
    if told is None:
        why = "it is a host, perhaps a port and a path; no scheme, no user, no tag"
    elif not (told["port"] or "." in told["host"] or told["host"] == "localhost"):
        why = "Docker takes a first word without a dot or a port for a folder of its public one"
    else:
        return value.rstrip("/")
    raise InputError(
        f"not a registry: {value!r}", why=why, next_step="--registry registry.example:5000/team"
    )


def _find(cluster: Cluster) -> tuple[tuple[str, int] | None, str | None]:
    """A ready pod of the cluster's registry with its port, or the reason why there is none."""
    for service in cluster.list("Service", NAMESPACE):
        for port in service["spec"].get("ports", []):
            if port.get("nodePort") == NODE_PORT:
                return _behind(cluster, service, port)
    return None, (
        f"no --registry was given, and the cluster has none at node port {NODE_PORT} "
        f"in namespace {NAMESPACE}"
    )


def _behind(
    cluster: Cluster, service: Object, port: Object
) -> tuple[tuple[str, int] | None, str | None]:
    labels = format_selector(service["spec"]["selector"])
    pods = [pod for pod in cluster.list("Pod", NAMESPACE, labels=labels) if _ready(pod)]
    if not pods:
        return None, f"the cluster's registry (namespace {NAMESPACE}) has no pod that is Ready"
    if not cluster.is_allowed("create", "pods/portforward", NAMESPACE):
        return None, f"no right to create pods/portforward in namespace {NAMESPACE}"
    return (pods[0]["metadata"]["name"], _target(pods[0], port)), None


def _target(pod: Object, port: Object) -> int:
    """The container's port; a Service may call it by its name."""
    target = port.get("targetPort") or port["port"]
    for container in pod["spec"]["containers"]:
        for one in container.get("ports", []):
            if one.get("name") == target:
                return int(one["containerPort"])
    return int(target)


def _ready(pod: Object) -> bool:
    states = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return states.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _failed(image: BuiltImage, push_to: str, pull_from: str, broken: EngineError) -> DeliveryError:
    if push_to == pull_from:
        next_step = f"docker login {push_to.partition('/')[0]}, or check that it can be reached"
    else:
        next_step = (
            "the Docker engine has to run on this machine to use the way through the API server; "
            "where it does not, give --registry or --import-command"
        )
    return DeliveryError(
        f"{image.reference} was not pushed to {pull_from}",
        why=broken.why or broken.what,
        next_step=next_step,
    )


DELIVERY = RegistryDelivery()
