"""Import the image with `microk8s images import`, which hands a tar to all nodes of MicroK8s."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import has_image, normalize_reference
from deploy.cluster.objects import get_name, is_ready
from deploy.delivery import DeliveredImage, DeliveryOptions
from deploy.image_transfer import list_target_nodes, temporary_tar
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import ClusterError, DeliveryError, ProgramError, WaitTimeout
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import wait_until

_PROGRAM = "microk8s"
_REPORT_SECONDS = 90.0  # kubelets report a new image within a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroK8sDelivery:
    """Imports with the `microk8s` command of a machine that is a node of the cluster."""

    name: str = "microk8s"
    order: int = 30
    requirement: str = (
        "run `mirror` on a node of the MicroK8s cluster, as a user of the group microk8s"
    )

    def find_obstacle(self, cluster: Cluster, _options: DeliveryOptions) -> str | None:
        if shutil.which(_PROGRAM) is None:
            return "there is no program `microk8s` on this machine"
        try:
            nodes = cluster.list("Node")
        except ClusterError as error:
            return f"the nodes cannot be listed: {error}"
        if not any(_is_this_machine(node) for node in nodes):
            return f"this machine ({socket.gethostname()}) is not a node of that cluster"
        return None

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        _options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Import, and wait until each node reports the image: the exit code covers one node."""
        reference = normalize_reference(image.reference)
        nodes = tuple(map(get_name, list_target_nodes(cluster, reference, progress)))
        if nodes:
            with temporary_tar(image, engine, progress) as tar, tar.open("rb") as content:
                progress.step(f"microk8s images import {image.reference}")
                command = (_PROGRAM, "images", "import")
                try:
                    result = run(command, deadline=cluster.deadline, input=content)
                except ProgramError as error:
                    raise DeliveryError(
                        "`microk8s images import` failed",
                        why=str(error),
                        next_step="see `microk8s status`; the user has to be in the group microk8s",
                    ) from error
            self._wait_for_reports(cluster, reference, nodes, result.tail(), progress)
        return DeliveredImage(reference=reference, method=self.name, nodes=nodes)

    def _wait_for_reports(
        self,
        cluster: Cluster,
        reference: str,
        targets: tuple[str, ...],
        output: str,
        progress: Progress,
    ) -> None:
        def list_failed_nodes() -> list[str]:
            """The target nodes whose complete list of images does not include this one."""
            nodes = [node for node in cluster.list("Node") if get_name(node) in targets]
            failed = [each for each in nodes if has_image(each, reference) is False]
            return [get_name(node) for node in failed if is_ready(node)]

        progress.step("wait until each node reports the image")
        try:
            wait_until(
                lambda: not list_failed_nodes(),
                deadline=cluster.deadline.within(_REPORT_SECONDS),
                what="the nodes report the image",
                interval=1.0,
            )
        except WaitTimeout as timeout:
            raise DeliveryError(
                f"the image was not imported on {', '.join(list_failed_nodes())}",
                why=f"microk8s says:\n{output}",
                next_step="see `microk8s status` there, or use --import-command or --ssh",
            ) from timeout


def _is_this_machine(node: Object) -> bool:
    names = {each["address"] for each in node["status"].get("addresses", [])} | {get_name(node)}
    host = socket.gethostname()
    is_microk8s = node["metadata"].get("labels", {}).get("microk8s.io/cluster") == "true"
    return is_microk8s and bool(names & {host, host.lower(), host.partition(".")[0]})


DELIVERY = MicroK8sDelivery()
