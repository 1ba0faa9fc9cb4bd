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

from images import application_dockerfile
from images.application_recipe import ApplicationRecipe
from images.build_context import pack_context
from images.build_mirror import build_log_path, fetch_base_image
from images.build_progress import BuildProgress, describe_attempts, explain_failure
from images.derived_recipe import find_packages, is_installable
from images.engine import EngineClient, EngineImage
from images.engine.build_log import shorten_step
from images.engine.leftovers import remove_leftovers
from images.inspect import inspect_image, make_report
from images.mirror_recipe import RECIPES
from images.project_lock import ProjectLock, read_project_lock
from images.proof import INSIDE, ProofResult, ProofSubject, run_proof
from images.report import RECIPE_LABEL, BuildReport, report_labels
from images.sandbox import RELAY_PORT, MirrorRoute, Sandbox, open_sandbox
from images.source import ProjectSource, open_source
from images.vendor import Upload, vendor
from mirror.core.errors import EngineError, MirrorError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline


class ImageProofError(MirrorError):
    """The image was built, and does not do with no network what it must; it has no name."""

    def __init__(self, reference: str, outcomes: tuple[ProofResult, ...]) -> None:
        faults = [f"{one.check}: {fault}" for one in outcomes for fault in one.faults]
        super().__init__(
            f"{reference} did not pass its proof and was given no name",
            why="\n".join(faults),
            next_step="bake what is fetched at the start into the image; a host that the "
            "application itself needs goes into the recipe's expected_hosts (docs/proof.md)",
        )
        self.outcomes = outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the user asked for. ``given``: canonical name → WHEEL, DIR or URL."""

    recipe: ApplicationRecipe
    source: str
    index: str
    tag: str | None = None
    apt_mirror: str | None = None
    vendor_sources: Mapping[str, str] = field(default_factory=dict)
    prove: bool = True
    no_cache: bool = False  # take no layer of an earlier build


def build_application(
    engine: EngineClient,
    order: BuildRequest,
    upload: Upload,
    progress: Progress,
    deadline: Deadline,
) -> BuildReport:
    """Build, prove and name an image.

    Raises InputError for what the project or the user got wrong, EngineError with the log for a
    failed build, ProofError for a failed proof. Whatever happens, an earlier image keeps its name
    until a new one has passed.
    """
    recipe, clock = order.recipe, _Clock()
    route = MirrorRoute.parse(order.index)
    remove_leftovers(engine)
    if order.tag:
        _check_tag(engine, order.tag, recipe)
    with (
        open_source(order.source, recipe.subdirectory, deadline) as source,
        tempfile.TemporaryDirectory(prefix="pypi-mirror-vendor-") as scratch,
    ):
        progress.step("read the lock")
        locked = read_project_lock(
            source.folder, recipe, deadline, vendored=frozenset(order.vendor_sources)
        )
        with clock("vendor"):
            locked, vendored = vendor(
                locked,
                order.vendor_sources,
                Path(scratch),
                index=order.index,
                upload=upload,
                progress=progress,
                deadline=deadline,
            )
        with clock("system"):
            build_base, run_base = prepare_base_images(engine, recipe, order.apt_mirror, progress)
        with clock("build"), open_sandbox(engine, run_base.id, deadline, route) as watched:
            image = _build(
                engine, watched, order, source, locked, route, build_base, run_base, progress
            )
            relayed, elsewhere = watched.count_relayed(), watched.attempts()
        own = find_packages(source.folder, locked.members)
    subject = ProofSubject(
        engine=engine,
        image=image,
        recipe=recipe,
        lock=locked,
        packages=own,
        progress=progress,
        deadline=deadline,
    )
    outcomes: tuple[ProofResult, ...] = ()
    reference = order.tag or f"{recipe.name}:{image.removeprefix('sha256:')[:12]}"
    with ThreadPoolExecutor(1) as beside:  # the proof mostly waits: for starts, and on one core
        counting = beside.submit(inspect_image, subject)
        if order.prove:
            with clock("proof"):
                outcomes = run_proof(subject)
            if any(one.faults for one in outcomes):
                raise ImageProofError(reference, outcomes)
        with clock("bill"):
            progress.step("count the files")
            report = make_report(
                subject,
                counting.result(),
                reference,
                outcomes,
                vendored,
                source,
                run_base,
                clock.seconds,
                relayed=relayed,
                attempts=elsewhere,
            )
            image = _label(
                engine, image, report_labels(report, recipe.name, recipe.title or recipe.name)
            )
            _check_tag(engine, reference, recipe)  # somebody may have taken it meanwhile
            engine.tag(image, reference)
    return replace(report, id=image, seconds=dict(clock.seconds))


def preview_dockerfile(order: BuildRequest, deadline: Deadline) -> str:
    """The Dockerfile of an order as a build would render it; builds nothing."""
    recipe = order.recipe
    with open_source(order.source, recipe.subdirectory, deadline) as source:
        locked = read_project_lock(
            source.folder, recipe, deadline, vendored=frozenset(order.vendor_sources)
        )
        members = ((".",) if is_installable(source.folder) else ()) + locked.members
    index = MirrorRoute(address="127.0.0.1", port=RELAY_PORT, path="/MIRROR/").sandbox_url
    base = recipe.base
    return application_dockerfile.render_application_dockerfile(
        recipe, build_base=base, run_base=base, index=index, members=members
    )


def prepare_base_images(
    engine: EngineClient, recipe: ApplicationRecipe, apt_mirror: str | None, progress: Progress
) -> tuple[EngineImage, EngineImage]:
    """Builder's and run stage's base, keyed by their packages: found, else built on the host's
    network, the only step that has it."""
    base = engine.find(recipe.base) or fetch_base_image(engine, recipe.base, progress)
    run = tuple(sorted(set(recipe.run_packages)))
    both = tuple(sorted({*recipe.build_packages, *run}))
    made = {one: _system(engine, recipe, base, one, apt_mirror, progress) for one in {run, both}}
    return made[both], made[run]


def _system(
    engine: EngineClient,
    recipe: ApplicationRecipe,
    base: EngineImage,
    wanted: tuple[str, ...],
    apt_mirror: str | None,
    progress: Progress,
) -> EngineImage:
    script = (RECIPES / application_dockerfile.SYSTEM_SCRIPT).read_bytes()
    text = application_dockerfile.render_base_dockerfile(
        recipe, base=base.id, packages=wanted, apt_mirror=apt_mirror
    )
    known = application_dockerfile.render_base_dockerfile(
        recipe, base=base.id, packages=wanted, apt_mirror=None
    )
    key = hashlib.sha256(script + known.encode()).hexdigest()[:12]
    name = f"pypi-mirror-base:{key}"
    if found := engine.find(name):
        return found
    progress.step("system packages: " + (" ".join(wanted) or "none"))
    context = {application_dockerfile.SYSTEM_SCRIPT: script, "Dockerfile": text.encode()}
    engine.tag(_logged(engine, context, None, "host", progress), name)
    made = engine.find(name)
    if made is None:
        raise EngineError(f"{name} was built and is gone again")
    return made


def _build(
    engine: EngineClient,
    watched: Sandbox,
    order: BuildRequest,
    source: ProjectSource,
    locked: ProjectLock,
    route: MirrorRoute,
    build_base: EngineImage,
    run_base: EngineImage,
    progress: Progress,
) -> str:
    """The image's id; EngineError names a step that tried to reach anything but the mirror."""
    members = ((".",) if is_installable(source.folder) else ()) + locked.members
    text = application_dockerfile.render_application_dockerfile(
        order.recipe,
        build_base=build_base.id,
        run_base=run_base.id,
        index=route.sandbox_url,
        members=members,
    )
    context = {
        "Dockerfile": text.encode(),
        application_dockerfile.REQUIREMENTS: locked.requirements_text.encode(),
        application_dockerfile.UV_REQUIREMENTS: (RECIPES / "mirror-probe.txt").read_bytes(),
        application_dockerfile.BUILD_CONSTRAINTS: (
            RECIPES / application_dockerfile.BUILD_CONSTRAINTS
        ).read_bytes(),
        **{
            one: (INSIDE / one).read_bytes()
            for one in (application_dockerfile.INSTALLER, application_dockerfile.BYTECODE_COMPILER)
        },
    }
    progress.step("build")
    steps = BuildProgress(progress, watched)
    try:
        image = _logged(engine, context, source, watched.network, steps, fresh=order.no_cache)
        steps.record_attempts()
    except EngineError as broken:
        with suppress(EngineError):  # of an engine that went away
            explain_failure(broken, watched)
        raise
    finally:
        if steps.attempts:
            # else the step would be taken from the cache the next time, unseen
            engine.discard_last_build()
    if steps.attempts:
        step, first = steps.attempts[0]
        raise EngineError(
            f"a step of the build tried to reach {first.host}: {shorten_step(step)}",
            why=describe_attempts([one for _, one in steps.attempts]),
            next_step="everything has to come from the mirror: lock it, or --vendor NAME=WHEEL",
        )
    return image


def _logged(
    engine: EngineClient,
    files: dict[str, bytes],
    source: ProjectSource | None,
    network: str,
    progress: Progress,
    *,
    fresh: bool = False,
) -> str:
    path = build_log_path()
    with path.open("w", buffering=1) as log, pack_context(files, source) as context:
        try:
            return engine.build(
                context, log=log, progress=progress, labels={}, network_mode=network, no_cache=fresh
            )
        except EngineError as broken:
            broken.next_step = broken.next_step or f"the whole log: {path}"
            raise


def _label(engine: EngineClient, image: str, told: dict[str, str]) -> str:
    """The same image with labels; no layer is added."""
    text = application_dockerfile.render_label_dockerfile(image, told).encode()
    with pack_context({"Dockerfile": text}) as context, build_log_path().open("a") as log:
        return engine.build(context, log=log, progress=SILENT, labels={}, network_mode="none")


def _check_tag(engine: EngineClient, tag: str, recipe: ApplicationRecipe) -> None:
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
