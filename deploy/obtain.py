"""The image that `mirror up` runs: the one that was given, or one built here and delivered."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.cluster.client import Cluster
from deploy.delivery import Options, check_architecture, choose, full_reference, nodes_missing, ways
from deploy.preflight import Ground
from images.build import build_mirror, plan_mirror
from images.engine import Engine
from mirror.core.errors import DeliveryError, EngineError, UnfitError
from mirror.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user said about the image."""

    image: str | None = None
    base: str | None = None
    delivery: Options = field(default_factory=Options)

    @property
    def silent(self) -> bool:
        """Nothing was said: the image of the last run will do where no engine is at hand."""
        return self.base is None and self.delivery == Options()


def obtain(
    cluster: Cluster,
    wish: Wish,
    ground: Ground,
    progress: Progress,
    *,
    last: str | None,
    ca: str | None,
) -> str:
    """Make sure that the nodes have an image; its reference as pods name it.

    ``last`` is the reference of the run before, ``ca`` what to trust while building. Raises
    DeliveryError with every way there is where there is neither an image nor an engine,
    UnfitError for nodes that lack a given one.
    """
    if wish.image:
        return _given(cluster, wish.image)
    try:
        engine = Engine.connect(cluster.deadline)
    except EngineError as absent:
        if last and wish.silent:
            progress.note(f"no Docker engine here: the mirror keeps its image {last}")
            return _given(cluster, last)
        raise _no_engine(absent) from absent
    way = choose(cluster, wish.delivery)
    image = build_mirror(engine, base=wish.base, ca=ca, progress=progress)
    check_architecture(image.architecture, ground.nodes)
    return way.deliver(image, engine, cluster, wish.delivery, progress).reference


def foresee(cluster: Cluster, wish: Wish, last: str | None, progress: Progress) -> str:
    """The reference that `obtain` would give, as far as it can be known; builds nothing."""
    if wish.image:
        return full_reference(wish.image)
    try:
        planned = plan_mirror(Engine.connect(cluster.deadline), base=wish.base, progress=progress)
    except EngineError as absent:
        if last and wish.silent:
            return last
        raise _no_engine(absent) from absent
    choose(cluster, wish.delivery)
    return last if last and planned.reference in last else full_reference(planned.reference)


def _given(cluster: Cluster, reference: str) -> str:
    missing = nodes_missing(cluster, reference)
    if missing:
        raise UnfitError(
            f"image {reference} is missing on {', '.join(missing)}",
            why="its name has no registry from which a node could pull it. (Nodes tell of an image "
            "with a delay of up to a minute: was it just imported, run this again then.)",
            next_step="import it there (docs/delivery.md), or leave --image out: "
            "`mirror up` then builds one and brings it to every node",
        )
    return full_reference(reference)


def _no_engine(absent: EngineError) -> DeliveryError:
    described = "\n".join(f"{way.name}: {way.how}" for way in ways())
    return DeliveryError(
        "no image for the mirror: there is no Docker engine to build it with",
        why=f"{absent}\nwith an engine, it gets to the nodes by one of these ways:\n{described}",
        next_step="start Docker (or set DOCKER_HOST), or give an image that was built elsewhere "
        "with `build-image mirror`: --image REF",
    )
