"""Build an application's image: source → lock → vendor → base → sandboxed build → proof → name."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from images.application_dockerfile import (
    BUILD_CONSTRAINTS,
    BYTECODE_COMPILER,
    INSTALLER,
    REQUIREMENTS,
    SYSTEM_SCRIPT,
    UV_REQUIREMENTS,
    render_application_dockerfile,
    render_base_dockerfile,
    render_label_dockerfile,
)
from images.application_recipe import ApplicationRecipe
from images.build_progress import BuildProgress, describe_attempts, explain_failure
from images.builder import build_unnamed, get_base_image
from images.derived_recipe import find_packages, is_installable
from images.engine import EngineClient, EngineImage
from images.engine.build_log import shorten_step
from images.engine.leftovers import remove_leftovers
from images.inside import read_program
from images.inspect import inspect_image, make_report
from images.project_lock import ProjectLock, read_project_lock
from images.proof import ProofResult, ProofSubject, run_proof
from images.recipes import RECIPES
from images.report import RECIPE_LABEL, BuildReport, report_labels
from images.sandbox import RELAY_PORT, MirrorRoute, Sandbox, open_sandbox
from images.source import ProjectSource, open_source
from images.vendor import Upload, VendoredDistribution, vendor
from mirror.core.errors import EngineError, MirrorError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline


class ImageProofError(MirrorError):
    """The image was built, but failed its proof. It has no name."""

    def __init__(self, reference: str, results: tuple[ProofResult, ...]) -> None:
        faults = [f"{result.check}: {fault}" for result in results for fault in result.faults]
        super().__init__(
            f"{reference} did not pass its proof and was given no name",
            why="\n".join(faults),
            next_step="add what is downloaded at the start to the image; add a host that the "
            "application itself needs to the recipe's expected_hosts (docs/proof.md)",
        )
        self.results = results


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build. ``vendor_sources`` maps canonical names to WHEEL, DIR or URL.

    ``source`` is DIR or GIT_URL[@REV], ``index`` the URL of the mirror's index.
    """

    recipe: ApplicationRecipe
    source: str
    index: str
    tag: str | None = None
    apt_mirror: str | None = None
    vendor_sources: Mapping[str, str] = field(default_factory=dict)
    prove: bool = True
    no_cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuildInputs:
    """What a build has prepared before the engine builds the image."""

    source: ProjectSource
    lock: ProjectLock
    vendored: tuple[VendoredDistribution, ...]
    build_base: EngineImage
    run_base: EngineImage


def build_application(
    engine: EngineClient,
    request: BuildRequest,
    upload: Upload,
    progress: Progress,
    deadline: Deadline,
) -> BuildReport:
    """Build, prove and name an image.

    Raises InputError for a mistake in the project or the options, EngineError with the log for a
    failed build, ImageProofError for a failed proof. In every case, an earlier image keeps its name
    until the new one has passed.
    """
    recipe, timer = request.recipe, _Timer()
    route = MirrorRoute.parse(request.index)
    remove_leftovers(engine)
    if request.tag:
        _check_tag(engine, request.tag, recipe)
    with open_source(request.source, recipe.subdirectory, deadline) as source:
        inputs = _prepare(engine, request, source, upload, progress, deadline, timer)
        with (
            timer.measure("build"),
            open_sandbox(engine, inputs.run_base.id, deadline, route) as sandbox,
        ):
            image = _build_in_sandbox(engine, request, inputs, route, sandbox, progress)
            relayed, elsewhere = sandbox.count_relayed(), len(sandbox.attempts())
        packages = find_packages(source.folder, inputs.lock.members)
    subject = ProofSubject(
        engine=engine,
        image=image,
        recipe=recipe,
        lock=inputs.lock,
        packages=packages,
        progress=progress,
        deadline=deadline,
    )
    reference = request.tag or f"{recipe.name}:{image.removeprefix('sha256:')[:12]}"
    with ThreadPoolExecutor(1) as executor:  # the proof mostly waits
        inspection = executor.submit(inspect_image, subject)
        proof = _prove(subject, reference, timer) if request.prove else ()
        with timer.measure("bill"):
            progress.step("inspect the image")
            report = make_report(
                subject,
                inspection.result(),
                reference,
                proof=proof,
                vendored=inputs.vendored,
                source=inputs.source,
                base=inputs.run_base,
                seconds={},
                relayed=relayed,
                elsewhere=elsewhere,
            )
            labels = report_labels(report, recipe.name, recipe.title or recipe.name)
            image = _add_labels(engine, image, labels)
            _check_tag(engine, reference, recipe)  # it may have been taken during the build
            engine.tag(image, reference)
    return replace(report, id=image, seconds=timer.seconds)


def preview_dockerfile(request: BuildRequest, deadline: Deadline) -> str:
    """Return the Dockerfile that a build would use. Builds nothing."""
    recipe = request.recipe
    with open_source(request.source, recipe.subdirectory, deadline) as source:
        lock = _read_lock(request, source, deadline)
        route = MirrorRoute(address="127.0.0.1", port=RELAY_PORT, path="/MIRROR/")
        return render_application_dockerfile(
            recipe,
            build_base=recipe.base,
            run_base=recipe.base,
            index=route.sandbox_url,
            members=_list_members(source, lock),
        )


def prepare_base_images(
    engine: EngineClient, recipe: ApplicationRecipe, apt_mirror: str | None, progress: Progress
) -> tuple[EngineImage, EngineImage]:
    """Return the base images of the build stages and of the run stage.

    Each is the recipe's base with Debian packages. It is built if it does not exist yet: the only
    build with access to the host's network.
    """
    base = get_base_image(engine, recipe.base, progress)
    run_packages = tuple(sorted(set(recipe.run_packages)))
    build_packages = tuple(sorted({*recipe.build_packages, *run_packages}))
    images = {
        packages: _prepare_base_image(engine, recipe, base, packages, apt_mirror, progress)
        for packages in {run_packages, build_packages}
    }
    return images[build_packages], images[run_packages]


def _prepare_base_image(
    engine: EngineClient,
    recipe: ApplicationRecipe,
    base: EngineImage,
    packages: tuple[str, ...],
    apt_mirror: str | None,
    progress: Progress,
) -> EngineImage:
    script = (RECIPES / SYSTEM_SCRIPT).read_bytes()
    # the mirror of the packages is not part of the image's identity
    identity = render_base_dockerfile(recipe, base=base.id, packages=packages, apt_mirror=None)
    digest = hashlib.sha256(script + identity.encode()).hexdigest()[:12]
    reference = f"pypi-mirror-base:{digest}"
    if existing := engine.find(reference):
        return existing
    progress.step("system packages: " + (" ".join(packages) or "none"))
    dockerfile = render_base_dockerfile(
        recipe, base=base.id, packages=packages, apt_mirror=apt_mirror
    )
    files = {SYSTEM_SCRIPT: script, "Dockerfile": dockerfile.encode()}
    engine.tag(build_unnamed(engine, files, progress), reference)
    return engine.get(reference)


def _prepare(
    engine: EngineClient,
    request: BuildRequest,
    source: ProjectSource,
    upload: Upload,
    progress: Progress,
    deadline: Deadline,
    timer: _Timer,
) -> _BuildInputs:
    """Read the lock, put everything into an index, and get the base images."""
    progress.step("read the lock")
    lock = _read_lock(request, source, deadline)
    with (
        timer.measure("vendor"),
        tempfile.TemporaryDirectory(prefix="pypi-mirror-vendor-") as scratch,
    ):
        lock, vendored = vendor(
            lock,
            request.vendor_sources,
            Path(scratch),
            index=request.index,
            upload=upload,
            progress=progress,
            deadline=deadline,
        )
    with timer.measure("system"):
        build_base, run_base = prepare_base_images(
            engine, request.recipe, request.apt_mirror, progress
        )
    return _BuildInputs(
        source=source, lock=lock, vendored=vendored, build_base=build_base, run_base=run_base
    )


def _read_lock(request: BuildRequest, source: ProjectSource, deadline: Deadline) -> ProjectLock:
    names = frozenset(request.vendor_sources)
    return read_project_lock(source.folder, request.recipe, deadline, vendored=names)


def _list_members(source: ProjectSource, lock: ProjectLock) -> tuple[str, ...]:
    """Return the folders to install from the source: the project itself and the lock's members."""
    return ((".",) if is_installable(source.folder) else ()) + lock.members


def _build_in_sandbox(
    engine: EngineClient,
    request: BuildRequest,
    inputs: _BuildInputs,
    route: MirrorRoute,
    sandbox: Sandbox,
    progress: Progress,
) -> str:
    """Return the image's id. EngineError if a step tried to reach anything but the mirror."""
    dockerfile = render_application_dockerfile(
        request.recipe,
        build_base=inputs.build_base.id,
        run_base=inputs.run_base.id,
        index=route.sandbox_url,
        members=_list_members(inputs.source, inputs.lock),
    )
    files = {
        "Dockerfile": dockerfile.encode(),
        REQUIREMENTS: inputs.lock.requirements_text.encode(),
        UV_REQUIREMENTS: (RECIPES / "mirror-probe.txt").read_bytes(),
        BUILD_CONSTRAINTS: (RECIPES / BUILD_CONSTRAINTS).read_bytes(),
        **{name: read_program(name) for name in (INSTALLER, BYTECODE_COMPILER)},
    }
    progress.step("build")
    steps = BuildProgress(progress, sandbox)
    try:
        image = build_unnamed(
            engine,
            files,
            steps,
            source=inputs.source,
            network_mode=sandbox.network,
            no_cache=request.no_cache,
        )
        steps.record_attempts()
    except EngineError as error:
        with suppress(EngineError):  # the engine may have gone away
            explain_failure(error, sandbox)
        raise
    finally:
        if steps.attempts:
            # the next build must run the step again, or it would not see the attempt
            engine.discard_last_build()
    if steps.attempts:
        step, first = steps.attempts[0]
        raise EngineError(
            f"a step of the build tried to reach {first.host}: {shorten_step(step)}",
            why=describe_attempts([attempt for _, attempt in steps.attempts]),
            next_step="everything must come from the mirror: lock it, or --vendor NAME=WHEEL",
        )
    return image


def _prove(subject: ProofSubject, reference: str, timer: _Timer) -> tuple[ProofResult, ...]:
    """Run the proof. Raises ImageProofError if it fails."""
    with timer.measure("proof"):
        results = run_proof(subject)
    if any(result.faults for result in results):
        raise ImageProofError(reference, results)
    return results


def _add_labels(engine: EngineClient, image: str, labels: dict[str, str]) -> str:
    """Return the id of the same image with labels; no layer is added."""
    dockerfile = render_label_dockerfile(image, labels).encode()
    return build_unnamed(
        engine, {"Dockerfile": dockerfile}, SILENT, network_mode="none", append_log=True
    )


def _check_tag(engine: EngineClient, tag: str, recipe: ApplicationRecipe) -> None:
    """Raise RefusedError if the name belongs to an image that was not built from this recipe."""
    image = engine.find(tag)
    if image and image.labels.get(RECIPE_LABEL) != recipe.name:
        raise RefusedError(
            f"{tag} is the name of another image",
            why="it was not built from the recipe " + recipe.name,
            next_step="choose another name with --tag, or remove that image: docker rmi " + tag,
        )


class _Timer:
    """Measures parts of a build, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = round(time.monotonic() - start, 2)
