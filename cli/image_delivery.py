"""Bring an application's image to the nodes, by a method that was chosen before the build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.delivery_options import DeliveryFlags
from cli.options import ClusterOptions
from images.engine import EngineClient
from images.report import BuildReport
from images.shared_build import describe_image
from mirror.core.errors import DeliveryError
from mirror.core.progress import Progress

if TYPE_CHECKING:
    from deploy.cluster.client import Cluster
    from deploy.delivery import DeliveryMethod, DeliveryOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDelivery:
    """A usable delivery method of a cluster that can be reached."""

    cluster: Cluster
    method: DeliveryMethod
    options: DeliveryOptions

    @classmethod
    def choose(cls, flags: DeliveryFlags, target: ClusterOptions) -> ImageDelivery | None:
        """Return the method to use, None if the image stays in the engine.

        Any option of a method asks for a delivery. Raises the errors of `choose_method`.
        """
        if not any((flags.deliver, flags.registry, flags.import_command, flags.ssh)):
            return None
        from deploy.delivery import choose_method

        options = flags.to_delivery_options()
        cluster = target.connect()
        try:
            method = choose_method(cluster, options)
        except DeliveryError as error:
            error.next_step = (
                "make one of these methods usable, or leave out --deliver and --push the image to "
                "a registry that the nodes can pull from"
            )
            raise
        return cls(cluster=cluster, method=method, options=options)

    def deliver(self, engine: EngineClient, report: BuildReport, progress: Progress) -> str:
        """Bring the image to the nodes; return the reference that pods use."""
        from deploy.cluster.node_images import check_architecture

        check_architecture(report.architecture, self.cluster.list("Node"))
        image = describe_image(engine, report.reference, built=True)
        return self.method.deliver(image, engine, self.cluster, self.options, progress).reference
