"""Import on each node: `docker save` into the standard input of a command of the user's.

For instance --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.delivery import (
    Delivered,
    Options,
    bad_template,
    filled,
    full_reference,
    lacking,
    name_of,
    saved,
    send,
)
from images.build import Image
from images.engine import Engine
from mirror.core.progress import Progress

_OPTION = "--import-command"
_EXAMPLE = "--import-command 'ssh {address} sudo ctr -n k8s.io images import -'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Every node that is Ready gets the image; one that has it already is left alone."""

    name: str = "nodes"
    order: int = 10
    how: str = f"give a command that imports a tar, with {{node}} and {{address}}: {_EXAMPLE}"

    def usable(
        self,
        cluster: Cluster,  # noqa: ARG002 - other ways look into it
        options: Options,
    ) -> str | None:
        return None if options.import_command else "no --import-command was given"

    def deliver(
        self,
        image: Image,
        engine: Engine,
        cluster: Cluster,
        options: Options,
        progress: Progress,
    ) -> Delivered:
        """Raises DeliveryError that names each node that failed and why."""
        reference = full_reference(image.reference)
        targets = lacking(cluster, reference, progress)
        argvs = {name_of(node): argv_for(options.import_command or "", node) for node in targets}
        _check_apart(argvs)
        if argvs:
            with saved(image, engine, progress) as tar:
                progress.step(f"import {image.reference} on {len(argvs)} nodes")
                send(tar, argvs, progress, cluster.deadline)
        return Delivered(reference=reference, way=self.name, nodes=tuple(argvs))


def argv_for(template: str, node: Object) -> tuple[str, ...]:
    """The command for one node. Raises InputError where the template is not a command."""
    return filled(template, node, option=_OPTION, example=_EXAMPLE)


def _check_apart(argvs: dict[str, tuple[str, ...]]) -> None:
    """Two nodes with the same command would mean that one of them gets nothing."""
    if len(set(argvs.values())) < len(argvs):
        template = " ".join(next(iter(argvs.values())))
        raise bad_template(template, "it is the same for several nodes", _OPTION, _EXAMPLE)


DELIVERY = Nodes()
