"""By ssh: a template that reaches a node; what imports there follows from the node itself.

For instance --ssh 'ssh -o BatchMode=yes admin@{address}'.
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

_OPTION = "--ssh"
_EXAMPLE = "--ssh 'ssh -o BatchMode=yes {address}'"
_CONTAINERD = ("ctr", "-n", "k8s.io", "images", "import", "-")
_MICROK8S = ("microk8s", "ctr", "images", "import", "-")
_K3S = ("k3s", "ctr", "images", "import", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshDelivery:
    """Every node that is Ready gets the image; one that has it already is left alone."""

    name: str = "ssh"
    order: int = 12
    requirement: str = (
        "give a command that runs the words after it on a node, where sudo asks for no "
        f"password: {_EXAMPLE}"
    )

    def find_obstacle(
        self,
        cluster: Cluster,  # noqa: ARG002 - other ways look into it
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
        template = options.ssh or ""
        reference = normalize_reference(image.reference)
        doors = {}
        argvs = {}
        for node in list_target_nodes(cluster, reference, progress):
            door = fill_template(template, node, option=_OPTION, example=_EXAMPLE)
            doors[get_name(node)] = door
            argvs[get_name(node)] = (*door, "sudo", "-n", *get_import_command(node))
        if len(set(doors.values())) < len(doors):
            raise template_error(template, "it is the same for several nodes", _OPTION, _EXAMPLE)
        if argvs:
            with temporary_tar(image, engine, progress) as tar:
                progress.step(f"import {image.reference} on {len(argvs)} nodes by ssh")
                import_on_nodes(tar, argvs, progress, cluster.deadline)
        return DeliveredImage(reference=reference, method=self.name, nodes=tuple(argvs))


def get_import_command(node: Object) -> tuple[str, ...]:
    """What reads a tar into the containerd that this node's kubelet uses."""
    if node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true":
        return _MICROK8S
    version = node["status"]["nodeInfo"].get("kubeletVersion", "")
    return _K3S if "+k3s" in version else _CONTAINERD


DELIVERY = SshDelivery()
