"""The image that `mirror up` runs: the one that was given, or one built here and delivered."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.cluster.client import Cluster
from deploy.delivery import (
    DeliveryOptions,
    check_architecture,
    choose_method,
    list_nodes_without_image,
    load_methods,
    normalize_reference,
)
from deploy.lifecycle.preflight import ClusterState
from images.build_mirror import build_mirror, plan_mirror
from images.engine import EngineClient
from mirror.core.errors import DeliveryError, EngineError, UnfitError
from mirror.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """What the user said about the image."""

    image: str | None = None
    base: str | None = None
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)

    @property
    def is_empty(self) -> bool:
        """Nothing was said: the image of the last run will do where no engine is at hand."""
        return self.base is None and self.delivery == DeliveryOptions()


def ensure_image(
    cluster: Cluster,
    request: ImageRequest,
    state: ClusterState,
    progress: Progress,
    *,
    previous: str | None,
    ca_pem: str | None,
) -> str:
    """Make sure that the nodes have an image; its reference as pods name it.

    ``last`` is the reference of the run before, ``ca`` what to trust while building. Raises
    DeliveryError with every way there is where there is neither an image nor an engine,
    UnfitError for nodes that lack a given one.
    """
    if request.image:
        return _given(cluster, request.image)
    try:
        engine = EngineClient.connect(cluster.deadline)
    except EngineError as absent:
        if previous and request.is_empty:
            progress.note(f"no Docker engine here: the mirror keeps its image {previous}")
            return _given(cluster, previous)
        raise _no_engine(absent) from absent
    way = choose_method(cluster, request.delivery)
    image = build_mirror(engine, base=request.base, ca=ca_pem, progress=progress)
    check_architecture(image.architecture, state.nodes)
    return way.deliver(image, engine, cluster, request.delivery, progress).reference


def predict_reference(
    cluster: Cluster, request: ImageRequest, previous: str | None, progress: Progress
) -> str:
    """The reference that `obtain` would give, as far as it can be known; builds nothing."""
    if request.image:
        return normalize_reference(request.image)
    try:
        planned = plan_mirror(
            EngineClient.connect(cluster.deadline), base=request.base, progress=progress
        )
    except EngineError as absent:
        if previous and request.is_empty:
            return previous
        raise _no_engine(absent) from absent
    choose_method(cluster, request.delivery)
    return (
        previous
        if previous and planned.reference in previous
        else normalize_reference(planned.reference)
    )


def _given(cluster: Cluster, reference: str) -> str:
    missing = list_nodes_without_image(cluster, reference)
    if missing:
        raise UnfitError(
            f"image {reference} is missing on {', '.join(missing)}",
            why="its name has no registry from which a node could pull it. (Nodes tell of an image "
            "with a delay of up to a minute: was it just imported, run this again then.)",
            next_step="import it there (docs/delivery.md), or leave --image out: "
            "`mirror up` then builds one and brings it to every node",
        )
    return normalize_reference(reference)


def _no_engine(absent: EngineError) -> DeliveryError:
    described = "\n".join(f"{way.name}: {way.requirement}" for way in load_methods())
    return DeliveryError(
        "no image for the mirror: there is no Docker engine to build it with",
        why=f"{absent}\nwith an engine, it gets to the nodes by one of these ways:\n{described}",
        next_step="start Docker (or set DOCKER_HOST), or give an image that was built elsewhere "
        "with `build-image mirror`: --image REF",
    )
