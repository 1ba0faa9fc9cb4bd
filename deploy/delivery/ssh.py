"""Import the image on each node over ssh, with the import command that fits the node.

Example: --ssh 'ssh -o BatchMode=yes admin@{address}'.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import normalize_reference
from deploy.delivery import DeliveredImage, DeliveryOptions
from deploy.image_transfer import CommandOption, import_by_command
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.progress import Progress

OPTION = CommandOption(name="--ssh", example="--ssh 'ssh -o BatchMode=yes {address}'")
_CONTAINERD = ("ctr", "-n", "k8s.io", "images", "import", "-")
_MICROK8S = ("microk8s", "ctr", "images", "import", "-")
_K3S = ("k3s", "ctr", "images", "import", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshDelivery:
    """Import on every Ready node that does not have the image yet."""

    name: str = "ssh"
    order: int = 12
    requirement: str = (
        "give a command that runs the words after it on a node, where sudo asks for no "
        f"password: {OPTION.example}"
    )

    def find_obstacle(
        self,
        cluster: Cluster,  # noqa: ARG002 - part of the protocol
        options: DeliveryOptions,
    ) -> str | None:
        return None if options.ssh else "no --ssh was given"

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Raises DeliveryError that names each node that failed and why."""
        nodes = import_by_command(
            image,
            engine,
            cluster,
            progress,
            option=OPTION,
            template=options.ssh or "",
            get_arguments=lambda node: ("sudo", "-n", *get_import_command(node)),
        )
        reference = normalize_reference(image.reference)
        return DeliveredImage(reference=reference, method=self.name, nodes=nodes)


def get_import_command(node: Object) -> tuple[str, ...]:
    """The command that imports a tar into the containerd of this node's kubelet."""
    if node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true":
        return _MICROK8S
    version = node["status"]["nodeInfo"].get("kubeletVersion", "")
    return _K3S if "+k3s" in version else _CONTAINERD


DELIVERY = SshDelivery()
