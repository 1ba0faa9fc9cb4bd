"""The image that `mirror up` runs: the one that is given, or one built here and delivered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import (
    check_architecture,
    list_nodes_without_image,
    normalize_reference,
)
from deploy.delivery import DeliveryOptions, choose_method, load_methods
from images.build_mirror import build_mirror, plan_mirror
from images.engine import EngineClient
from mirror.core.errors import DeliveryError, EngineError, UnfitError
from mirror.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """The image options of a command; None if an option was not given."""

    image: str | None = None
    base: str | None = None
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)

    @property
    def accepts_previous(self) -> bool:
        """Whether the image of the last `mirror up` may be used if there is no Docker engine."""
        return self.base is None and self.delivery == DeliveryOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsuredImage:
    """An image that the nodes have.

    ``is_chosen``: this command was given it, or built it. Otherwise its name comes from the
    mirror's own namespace, which others may edit.
    """

    reference: str
    is_chosen: bool


def ensure_image(
    cluster: Cluster,
    request: ImageRequest,
    nodes: Iterable[Object],
    progress: Progress,
    *,
    previous: str | None,
    ca_pem: str | None,
) -> EnsuredImage:
    """Make sure that the nodes have an image, and return the reference that pods use.

    ``previous`` is the reference of the last `mirror up`, ``ca_pem`` the certificates to trust
    while building. Raises DeliveryError that lists the delivery methods if there is neither an
    image nor a Docker engine, UnfitError for nodes that lack a given image.
    """
    if request.image:
        return EnsuredImage(reference=_check_on_nodes(cluster, request.image), is_chosen=True)
    try:
        engine = EngineClient.connect(cluster.deadline)
    except EngineError as error:
        if previous and request.accepts_previous:
            progress.note(f"no Docker engine here: the mirror keeps its image {previous}")
            return EnsuredImage(reference=_check_on_nodes(cluster, previous), is_chosen=False)
        raise _no_engine_error(error) from error
    method = choose_method(cluster, request.delivery)
    image = build_mirror(engine, base=request.base, ca=ca_pem, progress=progress)
    check_architecture(image.architecture, nodes)
    delivered = method.deliver(image, engine, cluster, request.delivery, progress)
    return EnsuredImage(reference=delivered.reference, is_chosen=True)


def predict_reference(
    cluster: Cluster, request: ImageRequest, previous: str | None, progress: Progress
) -> str:
    """The reference that `ensure_image` would return, as far as it is known without a build."""
    if request.image:
        return normalize_reference(request.image)
    try:
        engine = EngineClient.connect(cluster.deadline)
        plan = plan_mirror(engine, base=request.base, progress=progress)
    except EngineError as error:
        if previous and request.accepts_previous:
            return previous
        raise _no_engine_error(error) from error
    choose_method(cluster, request.delivery)
    if previous and plan.reference in previous:
        return previous
    return normalize_reference(plan.reference)


def _check_on_nodes(cluster: Cluster, reference: str) -> str:
    """The normalized reference. Raises UnfitError if a node lacks the image and cannot pull it."""
    missing = list_nodes_without_image(cluster, reference)
    if missing:
        raise UnfitError(
            f"image {reference} is missing on {', '.join(missing)}",
            why="its name has no registry that a node could pull it from (nodes report an image "
            "up to a minute late: if it was imported just now, run this again)",
            next_step="import it there (docs/delivery.md), or omit --image: "
            "`mirror up` then builds an image and brings it to every node",
        )
    return normalize_reference(reference)


def _no_engine_error(error: EngineError) -> DeliveryError:
    methods = "\n".join(f"{method.name}: {method.requirement}" for method in load_methods())
    return DeliveryError(
        "no image for the mirror: there is no Docker engine to build it with",
        why=f"{error}\nwith an engine, one of these methods brings it to the nodes:\n{methods}",
        next_step="start Docker (or set DOCKER_HOST), or name an image built elsewhere "
        "with `build-image mirror`: --image REF",
    )
