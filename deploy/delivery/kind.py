"""Load the image into a kind cluster, whose nodes are containers on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.cluster.node_images import normalize_reference
from deploy.cluster.objects import get_name
from deploy.delivery import DeliveredImage, DeliveryOptions
from deploy.image_transfer import list_target_nodes, temporary_tar
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import ClusterError, DeliveryError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress

_PROGRAM = "kind"
_SCHEME = "kind://"  # of a node's providerID: kind://docker/CLUSTER/NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class KindDelivery:
    """Loads with `kind`. The cluster's name is read from its nodes, not from the context."""

    name: str = "kind"
    order: int = 40
    requirement: str = "run `mirror` where the kind cluster was made, with `kind` on the PATH"

    def find_obstacle(self, cluster: Cluster, _options: DeliveryOptions) -> str | None:
        try:
            clusters = _find_kind_clusters(cluster)
        except ClusterError as error:
            return f"the nodes cannot be listed: {error}"
        if len(clusters) != 1:
            return "its nodes are not kind's"
        if shutil.which(_PROGRAM) is None:
            return "there is no program `kind` on this machine"
        return None

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        _options: DeliveryOptions,
        progress: Progress,
    ) -> DeliveredImage:
        """Load the image as an archive, since kind may use a different engine from the one here."""
        reference = normalize_reference(image.reference)
        nodes = tuple(map(get_name, list_target_nodes(cluster, reference, progress)))
        if nodes:
            (name,) = _find_kind_clusters(cluster)
            with temporary_tar(image, engine, progress) as tar:
                progress.step(f"kind load image-archive into cluster {name}")
                try:
                    command = (_PROGRAM, "load", "image-archive", str(tar), "--name", name)
                    run(command, deadline=cluster.deadline)
                except ProgramError as error:
                    raise DeliveryError(
                        f"`kind load image-archive` failed for cluster {name}",
                        why=str(error),
                        next_step="see `kind get clusters`; clusters on podman need "
                        "KIND_EXPERIMENTAL_PROVIDER=podman",
                    ) from error
        return DeliveredImage(reference=reference, method=self.name, nodes=nodes)


def _find_kind_clusters(cluster: Cluster) -> set[str]:
    """Names of the kind clusters that the nodes belong to; empty if a node is not kind's."""
    names = set()
    for node in cluster.list("Node"):
        provider_id = str(node.get("spec", {}).get("providerID", ""))
        parts = provider_id.removeprefix(_SCHEME).split("/")
        if not provider_id.startswith(_SCHEME) or len(parts) != 3:
            return set()
        names.add(parts[1])
    return names


DELIVERY = KindDelivery()
