"""kind: its nodes are containers of this machine's engine, and `kind load` fills all of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.delivery import (
    DeliveredImage,
    DeliveryOptions,
    get_name,
    list_target_nodes,
    normalize_reference,
    temporary_tar,
)
from images.build_mirror import BuiltImage
from images.engine import EngineClient
from mirror.core.errors import ClusterError, DeliveryError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress

_PROGRAM = "kind"
_SCHEME = "kind://"  # of a node's providerID: kind://docker/CLUSTER/NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class KindDelivery:
    """The cluster's name is read from its nodes, whatever the context is called."""

    name: str = "kind"
    order: int = 40
    requirement: str = "run `mirror` where the kind cluster was made, with `kind` on the PATH"

    def find_obstacle(
        self,
        cluster: Cluster,
        options: DeliveryOptions,  # noqa: ARG002 - nothing to say about it
    ) -> str | None:
        try:
            found = _clusters(cluster)
        except ClusterError as refused:
            return f"the nodes cannot be seen: {refused}"
        if len(found) != 1:
            return "its nodes are not kind's"
        if shutil.which(_PROGRAM) is None:
            return "there is no program `kind` on this machine"
        return None

    def deliver(
        self,
        image: BuiltImage,
        engine: EngineClient,
        cluster: Cluster,
        options: DeliveryOptions,  # noqa: ARG002
        progress: Progress,
    ) -> DeliveredImage:
        """By an archive: the image may be in another engine than the one kind would look into."""
        reference = normalize_reference(image.reference)
        targets = tuple(get_name(node) for node in list_target_nodes(cluster, reference, progress))
        if targets:
            (name,) = _clusters(cluster)
            with temporary_tar(image, engine, progress) as tar:
                progress.step(f"kind load image-archive into cluster {name}")
                try:
                    words = (_PROGRAM, "load", "image-archive", str(tar), "--name", name)
                    run(words, deadline=cluster.deadline)
                except ProgramError as broken:
                    raise DeliveryError(
                        f"`kind load image-archive` failed for cluster {name}",
                        why=str(broken),
                        next_step="see `kind get clusters`; podman's need "
                        "KIND_EXPERIMENTAL_PROVIDER=podman",
                    ) from broken
        return DeliveredImage(reference=reference, method=self.name, nodes=targets)


def _clusters(cluster: Cluster) -> set[str]:
    """The kind clusters that the nodes are of; one that is not kind's counts as ""."""
    found = set()
    for node in cluster.list("Node"):
        told = str(node["spec"].get("providerID", "")) if "spec" in node else ""
        parts = told.removeprefix(_SCHEME).split("/")
        found.add(parts[1] if told.startswith(_SCHEME) and len(parts) == 3 else "")
    return set() if "" in found else found


DELIVERY = KindDelivery()
