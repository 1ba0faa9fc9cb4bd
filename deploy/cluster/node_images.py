"""Which images the nodes have, by the names that kubelets report."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import get_name
from mirror.core.errors import DeliveryError

_MAX_REPORTED = 50  # images that a kubelet reports by default (nodeStatusMaxImages)
_DEFAULT_REGISTRY = "docker.io/library/"  # of names without a registry; none of our images is there


def normalize_reference(reference: str) -> str:
    """The reference as nodes report it, with registry and tag: docker.io/library/NAME:latest."""
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = _DEFAULT_REGISTRY + reference
    elif "." not in first and ":" not in first and first != "localhost":
        reference = f"docker.io/{reference}"
    has_version = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if has_version else f"{reference}:latest"


def has_image(node: Object, reference: str) -> bool | None:
    """Whether a node reports this image; None if that cannot be known."""
    images = node["status"].get("images") or []
    names = {name for image in images for name in image.get("names") or []}  # null: untagged
    full = normalize_reference(reference)
    base, at, digest = full.partition("@")
    name = re.sub(r":[^/]*$", "", base) + f"@{digest}" if at else base  # nodes omit the tag
    if name in names:
        return True
    is_cut_off = len(images) >= _MAX_REPORTED
    return None if is_cut_off or not full.startswith(_DEFAULT_REGISTRY) else False


def list_nodes_without_image(cluster: Cluster, reference: str) -> tuple[str, ...]:
    """Names of the nodes that are known to lack the image and cannot pull it.

    Kubelets report images up to a minute late, and only some of many; a node that may have the
    image is left out. Do not call this right after a delivery.
    """
    nodes = cluster.list("Node")
    return tuple(get_name(node) for node in nodes if has_image(node, reference) is False)


def check_architecture(architecture: str, nodes: Iterable[Object]) -> None:
    """Raise DeliveryError if not all nodes have this architecture, in the terms of Docker."""
    found = {get_name(node): node["status"]["nodeInfo"]["architecture"] for node in nodes}
    mismatches = [f"{name} is {other}" for name, other in found.items() if other != architecture]
    if mismatches:
        raise DeliveryError(
            f"the image is built for {architecture}, and not every node is",
            why="\n".join(mismatches),
            next_step="build with a Docker engine of the nodes' architecture (DOCKER_HOST), "
            "or name an image for all of them with --image",
        )
