"""MicroK8s on this machine: `microk8s images import` takes a tar and hands it to all its nodes."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.delivery import (
    DeliveredImage,
    DeliveryOptions,
    get_name,
    has_image,
    is_node_ready,
    list_target_nodes,
    normalize_reference,
    temporary_tar,
)
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.errors import ClusterError, DeliveryError, ProgramError, WaitTimeout
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_PROGRAM = "microk8s"
_TELL_SECONDS = 90.0  # kubelets tell of a new image within a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroK8sDelivery:
    """The cluster has to be the one that this machine is a node of."""

    name: str = "microk8s"
    order: int = 30
    requirement: str = (
        "run `mirror` on a node of the MicroK8s cluster, as a user of the group microk8s"
    )

    def find_obstacle(
        self,
        cluster: Cluster,
        options: DeliveryOptions,  # noqa: ARG002 - nothing to say about it
    ) -> str | None:
        if shutil.which(_PROGRAM) is None:
            return "there is no program `microk8s` on this machine"
        try:
            nodes = cluster.list("Node")
        except ClusterError as refused:
            return f"the nodes cannot be seen: {refused}"
        if not any(_is_here(node) for node in nodes):
            return f"this machine ({socket.gethostname()}) is no node of that cluster"
        return None

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,  # noqa: ARG002
        progress: Progress,
    ) -> DeliveredImage:
        """Its exit code does not tell of other nodes, so what they have is looked at."""
        reference = normalize_reference(image.reference)
        targets = tuple(get_name(node) for node in list_target_nodes(cluster, reference, progress))
        if targets:
            with temporary_tar(image, engine, progress) as tar, tar.open("rb") as content:
                progress.step(f"microk8s images import {image.reference}")
                try:
                    told = run(
                        (_PROGRAM, "images", "import"), deadline=cluster.deadline, input=content
                    )
                except ProgramError as broken:
                    raise DeliveryError(
                        "`microk8s images import` failed",
                        why=str(broken),
                        next_step="see `microk8s status`; the user has to be in the group microk8s",
                    ) from broken
            self._until_there(cluster, reference, targets, told.tail(), progress)
        return DeliveredImage(reference=reference, method=self.name, nodes=targets)

    def _until_there(
        self,
        cluster: Cluster,
        reference: str,
        targets: tuple[str, ...],
        said: str,
        progress: Progress,
    ) -> None:
        def without() -> list[str]:
            """Those that tell all they have, and do not tell of this one."""
            return [
                get_name(node)
                for node in cluster.list("Node")
                if get_name(node) in targets
                and is_node_ready(node)
                and has_image(node, reference) is False
            ]

        progress.step("wait until each node tells that it has the image")
        try:
            wait_until(
                lambda: not without(),
                deadline=cluster.deadline.within(_TELL_SECONDS),
                what="the nodes tell of the image",
                interval=1.0,
            )
        except WaitTimeout as late:
            names = ", ".join(without())
            raise DeliveryError(
                f"the image was not imported on {names}",
                why=f"microk8s says:\n{said}",
                next_step="see `microk8s status` there, or use --import-command or --ssh",
            ) from late


def _is_here(node: Object) -> bool:
    names = {one["address"] for one in node["status"].get("addresses", [])} | {get_name(node)}
    host = socket.gethostname()
    microk8s = node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true"
    return microk8s and bool(names & {host, host.lower(), host.partition(".")[0]})


DELIVERY = MicroK8sDelivery()
