"""Import the image on each node by a command of the user that reads a tar from standard input.

Example: --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.cluster.node_images import normalize_reference
from deploy.delivery import DeliveredImage, DeliveryOptions
from deploy.image_transfer import CommandOption, import_by_command
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.progress import Progress

OPTION = CommandOption(
    name="--import-command",
    example="--import-command 'ssh {address} sudo ctr -n k8s.io images import -'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCommandDelivery:
    """Import on every Ready node that does not have the image yet."""

    name: str = "nodes"
    order: int = 10
    requirement: str = (
        f"give a command that imports a tar, with {{node}} and {{address}}: {OPTION.example}"
    )

    def find_obstacle(
        self,
        cluster: Cluster,  # noqa: ARG002 - part of the protocol
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
        template = options.import_command or ""
        nodes = import_by_command(
            image, engine, cluster, progress, option=OPTION, template=template
        )
        reference = normalize_reference(image.reference)
        return DeliveredImage(reference=reference, method=self.name, nodes=nodes)


DELIVERY = ImportCommandDelivery()
