"""An application's image: source → lock → vendor → base → jail → proof → name."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from images import stages
from images.application import Application
from images.bill import RECIPE_LABEL, Report, labels
from images.build import fetch_base, log_path
from images.context import pack
from images.derive import is_package, packages
from images.engine import Engine, EngineImage
from images.engine.leftovers import sweep
from images.engine.said import short
from images.jail import PORT, Jail, Route, jail
from images.measure import count, measure
from images.proof import INSIDE, Outcome, Subject, prove
from images.recipe import RECIPES
from images.requirements import Locked, read_lock
from images.source import Source, open_source
from images.steps import Steps, explain, told
from images.vendor import Upload, vendor
from mirror.core.errors import EngineError, MirrorError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline


class ProofError(MirrorError):
    """The image was built, and does not do with no network what it must; it has no name."""

    def __init__(self, reference: str, outcomes: tuple[Outcome, ...]) -> None:
        faults = [f"{one.check}: {fault}" for one in outcomes for fault in one.faults]
        super().__init__(
            f"{reference} did not pass its proof and was given no name",
            why="\n".join(faults),
            next_step="bake what is fetched at the start into the image; a host that the "
            "application itself needs goes into the recipe's expected_hosts (docs/proof.md)",
        )
        self.outcomes = outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user asked for. ``given``: canonical name → WHEEL, DIR or URL."""

    recipe: Application
    source: str
    index: str
    tag: str | None = None
    apt_mirror: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    proof: bool = True
    fresh: bool = False  # take no layer of an earlier build


def bake(
    engine: Engine, order: Order, upload: Upload, progress: Progress, deadline: Deadline
) -> Report:
    """Build, prove and name an image.

    Raises InputError for what the project or the user got wrong, EngineError with the log for a
    failed build, ProofError for a failed proof. Whatever happens, an earlier image keeps its name
    until a new one has passed.
    """
    recipe, clock = order.recipe, _Clock()
    route = Route.parse(order.index)
    sweep(engine)
    if order.tag:
        _check_tag(engine, order.tag, recipe)
    with (
        open_source(order.source, recipe.subdirectory, deadline) as source,
        tempfile.TemporaryDirectory(prefix="pypi-mirror-vendor-") as scratch,
    ):
        progress.step("read the lock")
        locked = read_lock(source.folder, recipe, deadline, vendored=frozenset(order.given))
        with clock("vendor"):
            locked, vendored = vendor(
                locked,
                order.given,
                Path(scratch),
                index=order.index,
                upload=upload,
                progress=progress,
                deadline=deadline,
            )
        with clock("system"):
            build_base, run_base = bases(engine, recipe, order.apt_mirror, progress)
        with clock("build"), jail(engine, run_base.id, deadline, route) as watched:
            image = _build(
                engine, watched, order, source, locked, route, build_base, run_base, progress
            )
            relayed, elsewhere = watched.relayed(), watched.tried()
        own = packages(source.folder, locked.local)
    subject = Subject(
        engine=engine,
        image=image,
        recipe=recipe,
        locked=locked,
        packages=own,
        progress=progress,
        deadline=deadline,
    )
    outcomes: tuple[Outcome, ...] = ()
    reference = order.tag or f"{recipe.name}:{image.removeprefix('sha256:')[:12]}"
    with ThreadPoolExecutor(1) as beside:  # the proof mostly waits: for starts, and on one core
        counting = beside.submit(count, subject)
        if order.proof:
            with clock("proof"):
                outcomes = prove(subject)
            if any(one.faults for one in outcomes):
                raise ProofError(reference, outcomes)
        with clock("bill"):
            progress.step("count the files")
            report = measure(
                subject,
                counting.result(),
                reference,
                outcomes,
                vendored,
                source,
                run_base,
                clock.seconds,
                relayed=relayed,
                elsewhere=elsewhere,
            )
            image = _label(engine, image, labels(report, recipe.name, recipe.title or recipe.name))
            _check_tag(engine, reference, recipe)  # somebody may have taken it meanwhile
            engine.tag(image, reference)
    return replace(report, id=image, seconds=dict(clock.seconds))


def planned(order: Order, deadline: Deadline) -> str:
    """The Dockerfile of an order as a build would render it; builds nothing."""
    recipe = order.recipe
    with open_source(order.source, recipe.subdirectory, deadline) as source:
        locked = read_lock(source.folder, recipe, deadline, vendored=frozenset(order.given))
        members = ((".",) if is_package(source.folder) else ()) + locked.local
    index = Route(address="127.0.0.1", port=PORT, path="/MIRROR/").inside
    base = recipe.base
    return stages.render(recipe, build_base=base, run_base=base, index=index, local=members)


def bases(
    engine: Engine, recipe: Application, apt_mirror: str | None, progress: Progress
) -> tuple[EngineImage, EngineImage]:
    """Builder's and run stage's base, keyed by their packages: found, else built on the host's
    network, the only step that has it."""
    base = engine.find(recipe.base) or fetch_base(engine, recipe.base, progress)
    run = tuple(sorted(set(recipe.run_packages)))
    both = tuple(sorted({*recipe.build_packages, *run}))
    made = {one: _system(engine, recipe, base, one, apt_mirror, progress) for one in {run, both}}
    return made[both], made[run]


def _system(
    engine: Engine,
    recipe: Application,
    base: EngineImage,
    wanted: tuple[str, ...],
    apt_mirror: str | None,
    progress: Progress,
) -> EngineImage:
    script = (RECIPES / stages.SYSTEM).read_bytes()
    text = stages.render_system(recipe, base=base.id, packages=wanted, apt_mirror=apt_mirror)
    known = stages.render_system(recipe, base=base.id, packages=wanted, apt_mirror=None)
    key = hashlib.sha256(script + known.encode()).hexdigest()[:12]
    name = f"pypi-mirror-base:{key}"
    if found := engine.find(name):
        return found
    progress.step("system packages: " + (" ".join(wanted) or "none"))
    context = {stages.SYSTEM: script, "Dockerfile": text.encode()}
    engine.tag(_logged(engine, context, None, "host", progress), name)
    made = engine.find(name)
    if made is None:
        raise EngineError(f"{name} was built and is gone again")
    return made


def _build(
    engine: Engine,
    watched: Jail,
    order: Order,
    source: Source,
    locked: Locked,
    route: Route,
    build_base: EngineImage,
    run_base: EngineImage,
    progress: Progress,
) -> str:
    """The image's id; EngineError names a step that tried to reach anything but the mirror."""
    members = ((".",) if is_package(source.folder) else ()) + locked.local
    text = stages.render(
        order.recipe,
        build_base=build_base.id,
        run_base=run_base.id,
        index=route.inside,
        local=members,
    )
    context = {
        "Dockerfile": text.encode(),
        stages.REQUIREMENTS: locked.text.encode(),
        stages.UV: (RECIPES / "mirror-probe.txt").read_bytes(),
        stages.CONSTRAINTS: (RECIPES / stages.CONSTRAINTS).read_bytes(),
        **{one: (INSIDE / one).read_bytes() for one in (stages.SETTLE, stages.BYTECODE)},
    }
    progress.step("build")
    steps = Steps(progress, watched)
    try:
        image = _logged(engine, context, source, watched.network, steps, fresh=order.fresh)
        steps.look()
    except EngineError as broken:
        with suppress(EngineError):  # of an engine that went away
            explain(broken, watched)
        raise
    finally:
        if steps.found:
            engine.forget()  # else the step would be taken from the cache the next time, unseen
    if steps.found:
        step, first = steps.found[0]
        raise EngineError(
            f"a step of the build tried to reach {first.host}: {short(step)}",
            why=told([one for _, one in steps.found]),
            next_step="everything has to come from the mirror: lock it, or --vendor NAME=WHEEL",
        )
    return image


def _logged(
    engine: Engine,
    files: dict[str, bytes],
    source: Source | None,
    network: str,
    progress: Progress,
    *,
    fresh: bool = False,
) -> str:
    path = log_path()
    with path.open("w", buffering=1) as log, pack(files, source) as context:
        try:
            return engine.build(
                context, log=log, progress=progress, labels={}, network_mode=network, fresh=fresh
            )
        except EngineError as broken:
            broken.next_step = broken.next_step or f"the whole log: {path}"
            raise


def _label(engine: Engine, image: str, told: dict[str, str]) -> str:
    """The same image with labels; no layer is added."""
    text = stages.render_labels(image, told).encode()
    with pack({"Dockerfile": text}) as context, log_path().open("a") as log:
        return engine.build(context, log=log, progress=SILENT, labels={}, network_mode="none")


def _check_tag(engine: Engine, tag: str, recipe: Application) -> None:
    held = engine.find(tag)
    if held and held.labels.get(RECIPE_LABEL) != recipe.name:
        raise RefusedError(
            f"{tag} is the name of another image",
            why="it was not built from the recipe " + recipe.name,
            next_step="give another name with --tag, or take that one away: docker rmi " + tag,
        )


class _Clock:
    """Seconds by the name of a part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - begun, 2)
