"""How an image gets to the nodes: one module a way, and here what all ways share.

A way is a module with ``DELIVERY``. Its order decides which is taken where several can be used:
a way that the user asked for by an option stands before one that was found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.cluster.client import Cluster, Object
from deploy.discover import parts
from images.build import Image
from images.engine import Engine
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import Progress

_REPORTED = 50  # images a kubelet reports unless it was told otherwise (nodeStatusMaxImages)
_NOWHERE = "docker.io/library/"  # what a name without a registry becomes; ours is in none


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user said about delivery; None: nothing."""

    way: str | None = None  # name of a way
    registry: str | None = None  # HOST[:PORT][/PATH]
    import_command: str | None = None  # argv template with {node} and {address}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """An image that the nodes have or can pull, under the name that pods use."""

    reference: str
    way: str
    nodes: tuple[str, ...]  # those it was brought to; empty where they pull it themselves


class Delivery(Protocol):
    """A way. ``how`` says in a line what makes it usable."""

    name: str
    order: int
    how: str

    def usable(self, cluster: Cluster, options: Options) -> str | None:
        """None where it can be used, else the reason why not. Writes nothing."""

    def deliver(
        self,
        image: Image,
        engine: Engine,
        cluster: Cluster,
        options: Options,
        progress: Progress,
    ) -> Delivered:
        """Bring the image to every node within the cluster's deadline.

        Raises DeliveryError otherwise: some nodes are not enough.
        """


def ways() -> tuple[Delivery, ...]:
    """All ways, the preferred first."""
    found: list[Delivery] = [part.DELIVERY for part in parts(sys.modules[__name__])]
    return tuple(sorted(found, key=lambda way: way.order))


def choose(
    cluster: Cluster, options: Options, *, among: Sequence[Delivery] | None = None
) -> Delivery:
    """The way that was named, else the first usable one.

    Raises InputError for a name that is no way, DeliveryError that lists every way with the
    reason why it cannot be used and what would make it usable.
    """
    known = ways() if among is None else among
    candidates = [way for way in known if options.way in (None, way.name)]
    if not candidates:
        raise InputError(
            f"no way of delivery is called {options.way!r}",
            why="there are: " + ", ".join(way.name for way in known),
            next_step="choose one of them with --deliver, or leave it out",
        )
    reasons = []
    for way in candidates:
        reason = way.usable(cluster, options)
        if reason is None:
            return way
        reasons.append(f"{way.name}: {reason}\n  to use it: {way.how}")
    raise DeliveryError(
        f"no way to bring the image to the nodes of context {cluster.context}",
        why="\n".join(reasons),
        next_step="make one of these ways usable, or push the image to a registry that the "
        "nodes know and name it with --image",
    )


def check_architecture(architecture: str, nodes: Iterable[Object]) -> None:
    """DeliveryError where an image (as Docker names its architecture) cannot run on a node."""
    wrong = []
    for node in nodes:
        has = node["status"]["nodeInfo"]["architecture"]
        if has != architecture:
            wrong.append(f"{node['metadata']['name']} is {has}")
    if wrong:
        raise DeliveryError(
            f"the image is for {architecture}, and not every node is",
            why="\n".join(wrong),
            next_step="build where the Docker engine has the nodes' architecture (DOCKER_HOST), "
            "or give an image for all of them with --image",
        )


def nodes_missing(cluster: Cluster, reference: str) -> tuple[str, ...]:
    """The nodes that are known not to have the image and cannot pull it either.

    Nodes tell with a delay of up to a minute, and not all images where they have many: what is
    not known counts as there. Do not ask right after a delivery.
    """
    return tuple(
        node["metadata"]["name"]
        for node in cluster.list("Node")
        if node_has(node, reference) is False
    )


def node_has(node: Object, reference: str) -> bool | None:
    """Whether a node reports this image; None where that cannot be known."""
    names = {name for image in node["status"].get("images", []) for name in image.get("names", [])}
    full = full_reference(reference)
    base, at, digest = full.partition("@")
    wanted = f"{_untagged(base)}@{digest}" if at else base
    if wanted in names:
        return True
    many = len(node["status"].get("images", [])) >= _REPORTED
    return None if many or not full.startswith(_NOWHERE) else False


def full_reference(reference: str) -> str:
    """As nodes write it: with a registry and a tag, e.g. docker.io/library/NAME:latest."""
    first, slash, _ = reference.partition("/")
    if not slash:
        reference = _NOWHERE + reference
    elif "." not in first and ":" not in first and first != "localhost":
        reference = f"docker.io/{reference}"
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if named else f"{reference}:latest"


def _untagged(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]
