"""Push the image to a registry that the nodes pull from: a given one, or MicroK8s' own.

The registry in the cluster is reached through the API server on 127.0.0.1, where a Docker engine
accepts plain HTTP without configuration; the nodes know the registry as localhost:32000.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.cluster.access import find_missing
from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import format_selector, get_containers, get_name, is_ready
from deploy.cluster.port_forward import forward_port
from deploy.cluster.websockets import websocket_permissions
from deploy.delivery import DeliveredImage, DeliveryOptions
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import ClusterError, DeliveryError, EngineError, InputError
from mirror.core.progress import Progress

NODE_PORT = 32000  # port and namespace of MicroK8s' registry add-on
NAMESPACE = "container-registry"

_REQUIREMENT = (
    "give a registry that the Docker engine may push to and the nodes pull from, "
    "--registry HOST[:PORT][/PATH]; on MicroK8s: microk8s enable registry"
)
_REGISTRY = re.compile(
    r"(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?P<port>:\d+)?(?P<path>(/[a-z0-9._-]+)*)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryDelivery:
    """Pushes to a registry. Pods use tag and digest, so that they get exactly the pushed image."""

    name: str = "registry"
    order: int = 20
    requirement: str = _REQUIREMENT

    def find_obstacle(self, cluster: Cluster, options: DeliveryOptions) -> str | None:
        if options.registry:
            check_registry(options.registry)
            return None
        try:
            _find_registry_pod(cluster)
        except DeliveryError as error:
            return error.why
        except ClusterError as error:
            return f"no --registry was given, and the one in the cluster cannot be seen: {error}"
        return None

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Push, then remove the tag that the push needed from the engine."""
        with self._open_registry(cluster, options) as (push_to, pull_from):
            progress.step(f"push {image.reference} to {pull_from}")
            tag = f"{push_to}/{image.reference}"
            engine.tag(image.id, tag)
            try:
                digest = engine.push(tag, progress)
            except EngineError as error:
                raise _push_error(image, push_to, pull_from, error) from error
            finally:
                engine.untag(tag)
        reference = f"{pull_from}/{image.reference}@{digest}"
        return DeliveredImage(reference=reference, method=self.name, nodes=())

    @contextmanager
    def _open_registry(
        self, cluster: Cluster, options: DeliveryOptions
    ) -> Iterator[tuple[str, str]]:
        """The registry's address for the engine, and its address for the nodes."""
        if options.registry:
            registry = check_registry(options.registry)
            yield registry, registry
            return
        pod, port = _find_registry_pod(cluster)
        with forward_port(cluster, NAMESPACE, pod, port) as local_port:
            yield f"127.0.0.1:{local_port}", f"localhost:{NODE_PORT}"


def check_registry(value: str) -> str:
    """Return HOST[:PORT][/PATH] without a slash at its end; raise InputError if it is not that."""
    match = _REGISTRY.fullmatch(value.rstrip("/"))
    if match is None:
        why = "it is a host, perhaps with a port and a path; no scheme, no user, no tag"
    elif not (match["port"] or "." in match["host"] or match["host"] == "localhost"):
        why = "Docker takes a first part without a dot or a port for a directory of Docker Hub"
    else:
        return value.rstrip("/")
    raise InputError(
        f"not a registry: {value!r}", why=why, next_step="--registry registry.example:5000/team"
    )


def _find_registry_pod(cluster: Cluster) -> tuple[str, int]:
    """A Ready pod of the registry in the cluster, and its port. Raises DeliveryError."""
    for service in cluster.list("Service", NAMESPACE):
        for port in service["spec"].get("ports", []):
            if port.get("nodePort") == NODE_PORT:
                return _find_pod_of_service(cluster, service, port)
    raise _no_registry_error(
        f"no --registry was given, and the cluster has none at node port {NODE_PORT} "
        f"in namespace {NAMESPACE}"
    )


def _find_pod_of_service(cluster: Cluster, service: Object, port: Object) -> tuple[str, int]:
    for pod in cluster.list("Pod", NAMESPACE, labels=format_selector(service["spec"]["selector"])):
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            missing = find_missing(cluster, websocket_permissions("portforward", NAMESPACE))
            if missing:
                raise _no_registry_error(f"no permission to {missing[0]}")
            return get_name(pod), _get_container_port(pod, port)
    raise _no_registry_error(
        f"the cluster's registry (namespace {NAMESPACE}) has no pod that is Ready"
    )


def _get_container_port(pod: Object, service_port: Object) -> int:
    """The port of the container; a Service may refer to it by its name."""
    target = service_port.get("targetPort") or service_port["port"]
    for container in get_containers(pod):
        for port in container.get("ports", []):
            if port.get("name") == target:
                return int(port["containerPort"])
    return int(target)


def _no_registry_error(why: str) -> DeliveryError:
    return DeliveryError("no registry to push to", why=why, next_step=_REQUIREMENT)


def _push_error(
    image: BuiltImage, push_to: str, pull_from: str, error: EngineError
) -> DeliveryError:
    if push_to == pull_from:
        next_step = f"docker login {push_to.partition('/')[0]}, or check that it can be reached"
    else:
        next_step = (
            "the Docker engine has to run on this machine to push through the API server; "
            "if it does not, give --registry or --import-command"
        )
    return DeliveryError(
        f"{image.reference} was not pushed to {pull_from}",
        why=error.why or error.what,
        next_step=next_step,
    )


DELIVERY = RegistryDelivery()
