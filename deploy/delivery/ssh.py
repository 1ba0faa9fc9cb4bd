"""By ssh: a template that reaches a node; what imports there follows from the node itself.

For instance --ssh 'ssh -o BatchMode=yes admin@{address}'.
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

_OPTION = "--ssh"
_EXAMPLE = "--ssh 'ssh -o BatchMode=yes {address}'"
_CONTAINERD = ("ctr", "-n", "k8s.io", "images", "import", "-")
_MICROK8S = ("microk8s", "ctr", "images", "import", "-")
_K3S = ("k3s", "ctr", "images", "import", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """Every node that is Ready gets the image; one that has it already is left alone."""

    name: str = "ssh"
    order: int = 12
    how: str = (
        "give a command that runs the words after it on a node, where sudo asks for no "
        f"password: {_EXAMPLE}"
    )

    def usable(
        self,
        cluster: Cluster,  # noqa: ARG002 - other ways look into it
        options: Options,
    ) -> str | None:
        return None if options.ssh else "no --ssh was given"

    def deliver(
        self,
        image: Image,
        engine: Engine,
        cluster: Cluster,
        options: Options,
        progress: Progress,
    ) -> Delivered:
        """Raises DeliveryError that names each node that failed and why."""
        template = options.ssh or ""
        reference = full_reference(image.reference)
        doors = {}
        argvs = {}
        for node in lacking(cluster, reference, progress):
            door = filled(template, node, option=_OPTION, example=_EXAMPLE)
            doors[name_of(node)] = door
            argvs[name_of(node)] = (*door, "sudo", "-n", *importer(node))
        if len(set(doors.values())) < len(doors):
            raise bad_template(template, "it is the same for several nodes", _OPTION, _EXAMPLE)
        if argvs:
            with saved(image, engine, progress) as tar:
                progress.step(f"import {image.reference} on {len(argvs)} nodes by ssh")
                send(tar, argvs, progress, cluster.deadline)
        return Delivered(reference=reference, way=self.name, nodes=tuple(argvs))


def importer(node: Object) -> tuple[str, ...]:
    """What reads a tar into the containerd that this node's kubelet uses."""
    if node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true":
        return _MICROK8S
    version = node["status"]["nodeInfo"].get("kubeletVersion", "")
    return _K3S if "+k3s" in version else _CONTAINERD


DELIVERY = Ssh()
