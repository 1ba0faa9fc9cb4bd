"""Import on each node: `docker save` into the standard input of a command of the user's.

For instance --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.delivery import (
    DeliveredImage,
    DeliveryOptions,
    fill_template,
    get_name,
    import_on_nodes,
    list_target_nodes,
    normalize_reference,
    template_error,
    temporary_tar,
)
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.progress import Progress

_OPTION = "--import-command"
_EXAMPLE = "--import-command 'ssh {address} sudo ctr -n k8s.io images import -'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCommandDelivery:
    """Every node that is Ready gets the image; one that has it already is left alone."""

    name: str = "nodes"
    order: int = 10
    requirement: str = (
        f"give a command that imports a tar, with {{node}} and {{address}}: {_EXAMPLE}"
    )

    def find_obstacle(
        self,
        cluster: Cluster,  # noqa: ARG002 - other ways look into it
        options: DeliveryOptions,
    ) -> str | None:
        return None if options.import_command else "no --import-command was given"

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Raises DeliveryError that names each node that failed and why."""
        reference = normalize_reference(image.reference)
        targets = list_target_nodes(cluster, reference, progress)
        argvs = {
            get_name(node): build_command(options.import_command or "", node) for node in targets
        }
        _check_apart(argvs)
        if argvs:
            with temporary_tar(image, engine, progress) as tar:
                progress.step(f"import {image.reference} on {len(argvs)} nodes")
                import_on_nodes(tar, argvs, progress, cluster.deadline)
        return DeliveredImage(reference=reference, method=self.name, nodes=tuple(argvs))


def build_command(template: str, node: Object) -> tuple[str, ...]:
    """The command for one node. Raises InputError where the template is not a command."""
    return fill_template(template, node, option=_OPTION, example=_EXAMPLE)


def _check_apart(argvs: dict[str, tuple[str, ...]]) -> None:
    """Two nodes with the same command would mean that one of them gets nothing."""
    if len(set(argvs.values())) < len(argvs):
        template = " ".join(next(iter(argvs.values())))
        raise template_error(template, "it is the same for several nodes", _OPTION, _EXAMPLE)


DELIVERY = ImportCommandDelivery()
