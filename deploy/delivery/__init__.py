"""How an image gets to the nodes: one module a way, and here what all ways share.

A way is a module with ``DELIVERY``. Its order decides which is taken where several can be used:
a way that the user asked for by an option stands before one that was found.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.cluster.client import Cluster, Object
from deploy.extensions import load_extensions
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.errors import DeliveryError, InputError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_REPORTED = 50  # images a kubelet reports unless it was told otherwise (nodeStatusMaxImages)
_AT_ONCE = 4  # nodes that are written to side by side
_NOWHERE = "docker.io/library/"  # what a name without a registry becomes; ours is in none


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """What the user said about delivery; None: nothing."""

    method: str | None = None  # name of a way
    registry: str | None = None  # HOST[:PORT][/PATH]
    import_command: str | None = None  # argv template with {node} and {address}
    ssh: str | None = None  # argv template, likewise, that runs the words after it on a node


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredImage:
    """An image that the nodes have or can pull, under the name that pods use."""

    reference: str
    method: str
    nodes: tuple[str, ...]  # those it was brought to; empty where they pull it themselves


class DeliveryMethod(Protocol):
    """A way. ``how`` says in a line what makes it usable."""

    name: str
    order: int
    requirement: str

    def find_obstacle(self, cluster: Cluster, options: DeliveryOptions) -> str | None:
        """None where it can be used, else the reason why not. Writes nothing."""

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Bring the image to every node within the cluster's deadline.

        Raises DeliveryError otherwise: some nodes are not enough.
        """


def load_methods() -> tuple[DeliveryMethod, ...]:
    """All ways, the preferred first."""
    found: list[DeliveryMethod] = [part.DELIVERY for part in load_extensions(sys.modules[__name__])]
    return tuple(sorted(found, key=lambda way: way.order))


def choose_method(
    cluster: Cluster, options: DeliveryOptions, *, methods: Sequence[DeliveryMethod] | None = None
) -> DeliveryMethod:
    """The way that was named, else the first usable one.

    Raises InputError for a name that is no way, DeliveryError that lists every way with the
    reason why it cannot be used and what would make it usable.
    """
    known = load_methods() if methods is None else methods
    candidates = [way for way in known if options.method in (None, way.name)]
    if not candidates:
        raise InputError(
            f"no way of delivery is called {options.method!r}",
            why="there are: " + ", ".join(way.name for way in known),
            next_step="choose one of them with --deliver, or leave it out",
        )
    reasons = []
    for way in candidates:
        reason = way.find_obstacle(cluster, options)
        if reason is None:
            return way
        reasons.append(f"{way.name}: {reason}\n  to use it: {way.requirement}")
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


def list_nodes_without_image(cluster: Cluster, reference: str) -> tuple[str, ...]:
    """The nodes that are known not to have the image and cannot pull it either.

    Nodes tell with a delay of up to a minute, and not all images where they have many: what is
    not known counts as there. Do not ask right after a delivery.
    """
    return tuple(
        node["metadata"]["name"]
        for node in cluster.list("Node")
        if has_image(node, reference) is False
    )


def has_image(node: Object, reference: str) -> bool | None:
    """Whether a node reports this image; None where that cannot be known."""
    images = node["status"].get("images") or []
    names = {name for image in images for name in image.get("names") or []}  # null: untagged
    full = normalize_reference(reference)
    base, at, digest = full.partition("@")
    wanted = f"{_untagged(base)}@{digest}" if at else base
    if wanted in names:
        return True
    many = len(images) >= _REPORTED
    return None if many or not full.startswith(_NOWHERE) else False


def normalize_reference(reference: str) -> str:
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


# -- tars, and programs that take one on their standard input --------------------------------------


@contextmanager
def temporary_tar(image: BuiltImage, engine: EngineClient, progress: Progress) -> Iterator[Path]:
    """The image as a tar, as `docker save` writes it, for the length of a block."""
    with tempfile.NamedTemporaryFile(prefix="image-", suffix=".tar") as tar:
        progress.step(f"save {image.reference}")
        engine.save(image.reference, tar.file)
        tar.flush()
        yield Path(tar.name)


def list_target_nodes(cluster: Cluster, reference: str, progress: Progress) -> list[Object]:
    """The nodes that are Ready and are not known to have the image."""
    nodes = cluster.list("Node")
    for node in nodes:
        if not is_node_ready(node):
            progress.note(f"{get_name(node)} is NotReady: the image is not brought there")
    return [node for node in nodes if is_node_ready(node) and not has_image(node, reference)]


def fill_template(template: str, node: Object, *, option: str, example: str) -> tuple[str, ...]:
    """The template's words with the node's name and address put in; no shell ever reads them.

    Raises InputError, with the option and an example of it, where the template is no command.
    """
    try:
        words = shlex.split(template)
    except ValueError as broken:
        raise template_error(template, str(broken), option, example) from broken
    if not words:
        raise template_error(template, "it is empty", option, example)
    addresses = {one["type"]: one["address"] for one in node["status"].get("addresses", [])}
    address = addresses.get("InternalIP") or addresses.get("ExternalIP") or get_name(node)
    for field, value in {"{node}": get_name(node), "{address}": address}.items():
        words = [word.replace(field, value) for word in words]
    return tuple(words)


def template_error(template: str, why: str, option: str, example: str) -> InputError:
    """The error for a template that cannot be used."""
    return InputError(
        f"not a usable {option}: {template!r}",
        why=why,
        next_step=f"name the node with {{node}} or {{address}}: {example}",
    )


def import_on_nodes(
    tar: Path, argvs: Mapping[str, tuple[str, ...]], progress: Progress, deadline: Deadline
) -> None:
    """Run each node's command with the tar on its stdin, a few side by side.

    Raises DeliveryError that names each node that failed and why.
    """

    def one(argv: tuple[str, ...]) -> str | None:
        try:
            with tar.open("rb") as file:
                run(argv, deadline=deadline, input=file)
        except ProgramError as broken:
            return str(broken)
        return None

    failed = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, (node, why) in enumerate(
            zip(argvs, pool.map(one, argvs.values()), strict=True), start=1
        ):
            progress.count(number, len(argvs), node)
            if why:
                failed[node] = why
    if failed:
        raise DeliveryError(
            f"the image was not imported on {', '.join(failed)}"
            f"; {len(argvs) - len(failed)} of {len(argvs)} nodes have it",
            why="\n".join(f"{node}: {why}" for node, why in failed.items()),
            next_step="run the command by hand on one of them, mend it, and run again: "
            "nodes that have the image are left alone",
        )


def is_node_ready(node: Object) -> bool:
    states = {one["type"]: one["status"] for one in node["status"].get("conditions", [])}
    return states.get("Ready") == "True"


def get_name(node: Object) -> str:
    return str(node["metadata"]["name"])
