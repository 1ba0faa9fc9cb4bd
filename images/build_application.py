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
    PROJECT_CONSTRAINTS,
    REQUIREMENTS,
    SYSTEM_SCRIPT,
    UV_REQUIREMENTS,
    render_application_dockerfile,
    render_base_dockerfile,
    render_label_dockerfile,
)
from images.application_recipe import ApplicationRecipe
from images.base_python import check_base_image, check_base_tag, has_known_python
from images.build_backends import (
    choose_backends,
    list_build_constraints,
    list_build_requirements,
    read_pinned_backends,
)
from images.build_progress import BuildProgress, describe_attempts, explain_failure
from images.debian_packages import advise_on_packages
from images.derived_recipe import is_installable
from images.engine import EngineClient, EngineImage
from images.engine.build_log import shorten_step
from images.engine.leftovers import remove_leftovers
from images.inside import read_program
from images.inspect import inspect_image
from images.project.git_version import find_version_variables
from images.project_lock import ProjectLock, read_project_lock
from images.proof import ProofResult, ProofSubject, judge_proof, run_proof
from images.proof_cache import ProofCache, run_cached
from images.recipes import RECIPES
from images.report import RECIPE_LABEL, BuildReport, report_labels
from images.sandbox import RELAY_PORT, MirrorRoute, Sandbox, open_sandbox
from images.shared_build import build_unnamed, get_base_image
from images.source import ProjectSource, open_source
from images.source_facts import read_source_facts
from images.vendor import PrivateIndex, check_sources, vendor
from mirror.core.errors import EngineError, MirrorError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline

_SCRATCH = "pypi-mirror-vendor-"


class ChangeableError(MirrorError):
    """An error that a change of the recipe may remove.

    ``changes`` are assignments of the recipe (`build-image --set`), of which ``next_step`` speaks.
    """

    changes: tuple[str, ...] = ()


class ImageProofError(ChangeableError):
    """The image was built, but failed its proof. It has no name."""


class FailedStepError(ChangeableError, EngineError):
    """A step of the build failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build. ``vendor_sources`` maps canonical names to WHEEL, DIR or URL.

    ``source`` is DIR or GIT_URL[@REV].
    """

    recipe: ApplicationRecipe
    source: str
    tag: str | None = None
    apt_mirror: str | None = None
    vendor_sources: Mapping[str, str] = field(default_factory=dict)
    prove: bool = True
    no_cache: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request whose inputs were checked, with the opened source and the lock in it."""

    request: BuildRequest
    source: ProjectSource
    lock: ProjectLock


@contextmanager
def check_request(request: BuildRequest, deadline: Deadline) -> Iterator[CheckedRequest]:
    """Check everything that needs neither an engine nor a mirror, and hold the source open.

    Raises InputError for a mistake in the project or the options.
    """
    recipe = request.recipe
    subdirectory = recipe.subdirectory
    with open_source(request.source, subdirectory, deadline, package=recipe.package) as source:
        lock = _read_lock(request, source, deadline)
        check_sources(lock, request.vendor_sources)
        check_base_tag(request.recipe.base, source.folder / source.project, lock)
        yield CheckedRequest(request=request, source=source, lock=lock)


def build_application(
    engine: EngineClient, checked: CheckedRequest, index: PrivateIndex, progress: Progress
) -> BuildReport:
    """Build, prove and name an image.

    Raises InputError for a source that cannot be vendored, EngineError with the log for a failed
    build, ImageProofError for a failed proof. In every case, an earlier image keeps its name until
    the new one has passed.
    """
    request, source, lock = checked.request, checked.source, checked.lock
    recipe, deadline = request.recipe, engine.deadline
    seconds: dict[str, float] = {}
    route = MirrorRoute.parse(index.url)
    remove_leftovers(engine)
    if request.tag:
        _check_tag(engine, request.tag, recipe)
    if not has_known_python(recipe.base):
        base = get_base_image(engine, recipe.base, progress)
        check_base_image(engine, base, recipe.base, source.folder / source.project, lock)
    with _measure(seconds, "vendor"), tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch:
        lock, vendored = vendor(
            lock, request.vendor_sources, Path(scratch), index, progress, deadline
        )
    with _measure(seconds, "system"):
        build_base, run_base = prepare_base_images(engine, recipe, request.apt_mirror, progress)
    bases = build_base.id, run_base.id
    dockerfile = _render(recipe, source, lock, route, *bases, deadline)
    files = _collect_files(dockerfile, lock) | _choose_backends(
        recipe, source, lock, index.url, deadline
    )
    with _measure(seconds, "build"), open_sandbox(engine, run_base.id, route) as sandbox:
        progress.step("build")
        steps = BuildProgress(progress, sandbox)
        image = _build_in_sandbox(engine, files, source, steps, sandbox, request.no_cache)
        relayed, elsewhere = sandbox.count_relayed(), len(sandbox.attempts())
    subject = ProofSubject(
        engine=engine,
        image=image,
        recipe=recipe,
        lock=lock,
        source=read_source_facts(source, recipe, _list_members(recipe, source, lock)),
        progress=progress,
    )
    reference = request.tag or f"{recipe.name}:{image.removeprefix('sha256:')[:12]}"
    with ThreadPoolExecutor(1) as executor:  # the proof mostly waits
        inspection = executor.submit(inspect_image, subject, run_base)
        proof: tuple[ProofResult, ...] = ()
        if request.prove:
            with _measure(seconds, "proof"):
                cache = None if request.no_cache else ProofCache.of_user()
                proof = _prove(subject, reference, cache)
        with _measure(seconds, "bill"):
            progress.step("inspect the image")
            report = replace(
                inspection.result(),
                reference=reference,
                vendored=vendored,
                revision=source.revision,
                relayed=relayed,
                elsewhere=elsewhere,
                left_out=source.left_out,
                proof=proof,
                proof_verdict=judge_proof(proof),
                mounts=_list_mounts(subject),
            )
            labels = report_labels(report, recipe.name, recipe.title or recipe.name)
            image = _add_labels(engine, image, labels)
            _check_tag(engine, reference, recipe)  # it may have been taken during the build
            engine.tag(image, reference)
    return replace(report, id=image, seconds=seconds)


def preview_dockerfile(checked: CheckedRequest, deadline: Deadline) -> str:
    """Return the Dockerfile that a build would use. Builds nothing."""
    recipe = checked.request.recipe
    route = MirrorRoute(address="127.0.0.1", port=RELAY_PORT, path="/MIRROR/")
    bases = recipe.base, recipe.base
    return _render(recipe, checked.source, checked.lock, route, *bases, deadline)


def prepare_base_images(
    engine: EngineClient, recipe: ApplicationRecipe, apt_mirror: str | None, progress: Progress
) -> tuple[EngineImage, EngineImage]:
    """Return the base images of the build stages and of the run stage.

    Each is the recipe's base with Debian packages. It is built if it does not exist yet: the only
    build with access to the host's network.
    """
    base = get_base_image(engine, recipe.base, progress)
    script = (RECIPES / SYSTEM_SCRIPT).read_bytes()

    def prepare(packages: tuple[str, ...]) -> EngineImage:
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
        try:
            engine.tag(build_unnamed(engine, files, progress), reference)
        except EngineError as error:
            if advice := advise_on_packages(error.why, recipe.run_packages):
                error.next_step = f"{advice}; {error.next_step}"
            raise
        return engine.get(reference)

    run_packages = tuple(sorted(set(recipe.run_packages)))
    build_packages = tuple(sorted({*recipe.build_packages, *run_packages}))
    return prepare(build_packages), prepare(run_packages)


def _read_lock(request: BuildRequest, source: ProjectSource, deadline: Deadline) -> ProjectLock:
    names = frozenset(request.vendor_sources)
    return read_project_lock(
        source.folder, request.recipe, deadline, member=source.project, vendored=names
    )


def _render(
    recipe: ApplicationRecipe,
    source: ProjectSource,
    lock: ProjectLock,
    route: MirrorRoute,
    build_base: str,
    run_base: str,
    deadline: Deadline,
) -> str:
    return render_application_dockerfile(
        recipe,
        build_base=build_base,
        run_base=run_base,
        index=route.sandbox_url,
        members=_list_members(recipe, source, lock),
        versions=_find_versions(recipe, source, lock, deadline),
    )


def _list_members(
    recipe: ApplicationRecipe, source: ProjectSource, lock: ProjectLock
) -> tuple[str, ...]:
    """Return the folders of the source to install: the project itself, and what its lock names."""
    own = source.project or "."
    is_installed = recipe.install_project and is_installable(source.folder / source.project)
    installed = (own,) if is_installed else ()
    return tuple(dict.fromkeys((*installed, *lock.members)))


def _choose_backends(
    recipe: ApplicationRecipe,
    source: ProjectSource,
    lock: ProjectLock,
    index: str,
    deadline: Deadline,
) -> dict[str, bytes]:
    """Return the files with the build backends of the packages, and of the project's own builds."""
    members = [source.folder / member for member in _list_members(recipe, source, lock)]
    places = dict.fromkeys((source.folder, source.folder / source.project))
    constraints = [line for place in places for line in list_build_constraints(place)]
    constraints += recipe.build_constraints
    requires = [line for member in members for line in list_build_requirements(member)]
    backends = choose_backends(read_pinned_backends(), constraints, (), index, deadline)
    own = choose_backends(backends, constraints, requires, index, deadline)
    return {BUILD_CONSTRAINTS: backends.encode(), PROJECT_CONSTRAINTS: own.encode()}


def _find_versions(
    recipe: ApplicationRecipe, source: ProjectSource, lock: ProjectLock, deadline: Deadline
) -> dict[str, str]:
    folders = {member: source.folder / member for member in _list_members(recipe, source, lock)}
    return find_version_variables(folders, recipe.build_environment, deadline)


def _collect_files(dockerfile: str, lock: ProjectLock) -> dict[str, bytes]:
    """Return the build context (path → content) without the source."""
    return {
        "Dockerfile": dockerfile.encode(),
        REQUIREMENTS: lock.requirements_text.encode(),
        UV_REQUIREMENTS: (RECIPES / "uv.txt").read_bytes(),
        **{name: read_program(name) for name in (INSTALLER, BYTECODE_COMPILER)},
    }


def _build_in_sandbox(
    engine: EngineClient,
    files: Mapping[str, bytes],
    source: ProjectSource,
    steps: BuildProgress,
    sandbox: Sandbox,
    no_cache: bool,
) -> str:
    """Return the image's id. EngineError if a step tried to reach anything but the mirror."""
    try:
        image = build_unnamed(
            engine, files, steps, source=source, network_mode=sandbox.network, no_cache=no_cache
        )
        steps.record_attempts()
    except EngineError as error:
        changes: tuple[str, ...] = ()
        with suppress(EngineError):  # the engine may have gone away
            changes = explain_failure(error, engine.last_output, sandbox)
        if not changes:
            raise
        failed = FailedStepError(error.what, why=error.why, next_step=error.next_step)
        failed.changes = changes
        raise failed from error
    finally:
        if steps.attempts:
            # the next build must run the step again, or it would not see the attempt
            engine.discard_last_build()
    if steps.attempts:
        step, first = steps.attempts[0]
        raise EngineError(
            f"a step of the build tried to reach {first.host}: {shorten_step(step)}",
            why=describe_attempts([attempt for _, attempt in steps.attempts]),
            next_step="builds can only use the mirror: add it to the lock, or --vendor NAME=WHEEL",
        )
    return image


def _prove(
    subject: ProofSubject, reference: str, cache: ProofCache | None
) -> tuple[ProofResult, ...]:
    results = run_proof(subject, lambda name, check: run_cached(subject, name, check, cache))
    if faults := [f"{result.check}: {fault}" for result in results for fault in result.faults]:
        advice = [advice for result in results for advice in result.advice]
        texts = dict.fromkeys(advice.text for advice in advice)
        error = ImageProofError(
            f"{reference} failed its proof, so it was not tagged",
            why="\n".join(faults),
            next_step="; ".join(texts) or "correct what is named above (docs/proof.md)",
        )
        changes = (change for entry in advice for change in entry.changes)
        error.changes = tuple(dict.fromkeys(changes))
        raise error
    return results


def _list_mounts(subject: ProofSubject) -> dict[str, str]:
    """Return the files that only the proof has had: path in the image → where they came from."""
    recipe = subject.recipe
    templates = {path: recipe.proof_templates[path] for path in subject.source.template_files}
    given = dict.fromkeys(recipe.proof_files, "the recipe's proof_files")
    return {f"{recipe.folder}/{path}": origin for path, origin in {**templates, **given}.items()}


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


@contextmanager
def _measure(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add how long a block takes."""
    start = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - start, 2)
