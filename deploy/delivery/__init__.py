"""The methods that bring an image to the nodes, one module each, and the choice of one.

Each module of this package defines a method as `DELIVERY`. Of several usable methods the one with
the lowest order is taken: methods that need an option come before methods that are detected.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import normalize_reference
from deploy.cluster.objects import get_internal_ips, get_name
from deploy.extensions import load_extensions
from deploy.image_transfer import import_on_nodes, list_target_nodes, temporary_tar
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import DeliveryError, InputError
from mirror.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """The delivery options of a command; None if an option was not given."""

    method: str | None = None  # name of a method
    registry: str | None = None  # HOST[:PORT][/PATH]
    import_command: str | None = None  # command template with {node} and {address}
    ssh: str | None = None  # likewise; runs the words that follow it on a node


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredImage:
    """An image that the nodes have or can pull, by the reference that pods use."""

    reference: str
    method: str
    nodes: tuple[str, ...]  # that it was brought to; empty if they pull it themselves


class DeliveryMethod(Protocol):
    """One way to bring an image to the nodes."""

    name: str
    order: int
    requirement: str  # what the user can do to make the method usable, in one line

    def find_obstacle(self, cluster: Cluster, options: DeliveryOptions, /) -> str | None:
        """Why the method cannot be used; None if it can. Changes nothing."""

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
        /,
    ) -> DeliveredImage:
        """Bring the image to every node within the cluster's deadline.

        Raises DeliveryError if it is not on every node then.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDelivery:
    """Import on each node by a command of the user, which reads a tar from standard input.

    ``option`` gives the command for a node, with the fields {node} and {address}, and
    ``get_arguments`` the words that follow it.
    """

    name: str
    order: int
    option: str
    example: str
    hint: str  # what the option has to be given; the example follows it
    get_template: Callable[[DeliveryOptions], str | None]
    get_arguments: Callable[[Object], tuple[str, ...]] = lambda _: ()

    @property
    def requirement(self) -> str:
        return f"{self.hint}: {self.example}"

    def find_obstacle(self, _cluster: Cluster, options: DeliveryOptions) -> str | None:
        return None if self.get_template(options) else f"no {self.option} was given"

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Import on every Ready node that is not known to have the image.

        Raises DeliveryError that names each node that failed and why.
        """
        reference = normalize_reference(image.reference)
        nodes = list_target_nodes(cluster, reference, progress)
        template = self.get_template(options) or ""
        commands = {get_name(node): self.build_command(template, node) for node in nodes}
        if len(set(commands.values())) < len(commands):
            raise self._error(template, "it is the same for several nodes")
        for node in nodes:
            commands[get_name(node)] += self.get_arguments(node)
        if commands:
            with temporary_tar(image, engine, progress) as tar:
                progress.step(f"import {image.reference} on {len(commands)} nodes")
                import_on_nodes(tar, commands, progress, cluster.deadline)
        return DeliveredImage(reference=reference, method=self.name, nodes=tuple(commands))

    def build_command(self, template: str, node: Object) -> tuple[str, ...]:
        """The arguments of the template with the node's name and address filled in.

        No shell reads them. Raises InputError if the template is not a command.
        """
        try:
            arguments = shlex.split(template)
        except ValueError as error:
            raise self._error(template, str(error)) from error
        if not arguments:
            raise self._error(template, "it is empty")
        addresses = {each["type"]: each["address"] for each in node["status"].get("addresses", [])}
        name = get_name(node)
        address = next(iter(get_internal_ips(node)), addresses.get("ExternalIP") or name)
        for field, value in {"{node}": name, "{address}": address}.items():
            arguments = [argument.replace(field, value) for argument in arguments]
        return tuple(arguments)

    def _error(self, template: str, why: str) -> InputError:
        return InputError(
            f"not a usable {self.option}: {template!r}",
            why=why,
            next_step=f"name the node with {{node}} or {{address}}: {self.example}",
        )


def load_methods() -> tuple[DeliveryMethod, ...]:
    """All methods, in order of preference."""
    modules = load_extensions(sys.modules[__name__])
    methods: list[DeliveryMethod] = [module.DELIVERY for module in modules]
    return tuple(sorted(methods, key=lambda method: method.order))


def choose_method(cluster: Cluster, options: DeliveryOptions) -> DeliveryMethod:
    """The method that the options name, else the first usable one.

    Raises InputError for an unknown name, DeliveryError that says for every method why it cannot
    be used and what would make it usable.
    """
    known = load_methods()
    candidates = [method for method in known if options.method in (None, method.name)]
    if not candidates:
        raise InputError(
            f"no delivery method is called {options.method!r}",
            why="there are: " + ", ".join(method.name for method in known),
            next_step="choose one of them with --deliver, or omit it",
        )
    reasons = []
    for method in candidates:
        obstacle = method.find_obstacle(cluster, options)
        if obstacle is None:
            return method
        reasons.append(f"{method.name}: {obstacle}\n  to use it: {method.requirement}")
    raise DeliveryError(
        f"no way to bring the image to the nodes of context {cluster.context}",
        why="\n".join(reasons),
        next_step="make one of these methods usable, or push the image to a registry that the "
        "nodes can pull from and name it with --image",
    )
