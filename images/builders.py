"""Two ways to make an application's image from checked inputs: a Dockerfile, or assembly.

Both end with an image that has no name and no labels, whose steps were watched in the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from images.application_dockerfile import (
    BUILD_CONSTRAINTS,
    BYTECODE_COMPILER,
    INSTALLER,
    PROJECT_CONSTRAINTS,
    REQUIREMENTS,
    UV_REQUIREMENTS,
    render_application_dockerfile,
    render_label_dockerfile,
)
from images.application_recipe import ApplicationRecipe
from images.assembly.assemble import Assembler, check_engine
from images.assembly.cache import LayerCache
from images.assembly.install import InstallRequest
from images.assembly.steps import AssemblySteps, ForbiddenHostError
from images.build_backends import (
    choose_backends,
    list_build_constraints,
    list_build_requirements,
    read_pinned_backends,
)
from images.build_progress import BuildProgress, describe_attempts, explain_failure
from images.derived_recipe import is_installable
from images.engine import EngineClient, EngineImage
from images.engine.build_log import shorten_step
from images.inside import read_program
from images.project.git_version import find_version_variables
from images.project_lock import ProjectLock
from images.recipes import RECIPES
from images.report import RECIPE_LABEL
from images.sandbox import RELAY_PORT, MirrorRoute, Sandbox, open_sandbox
from images.shared_build import build_unnamed
from images.source import ProjectSource
from mirror.core.errors import EngineError, MirrorError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import Deadline

Builder = Literal["dockerfile", "assemble"]  # what makes the layers: the engine, or we


class ChangeableError(MirrorError):
    """An error that a change of the recipe may remove.

    ``changes`` are assignments of the recipe (`build-image --set`), of which ``next_step`` speaks.
    """

    changes: tuple[str, ...] = ()


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
    builder: Builder = "dockerfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request whose inputs were checked, with the opened source and the lock in it."""

    request: BuildRequest
    source: ProjectSource
    lock: ProjectLock


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """What a build needs, once its inputs are checked and its base images exist.

    ``lock`` has every pin in an index, whose address on the engine's host is ``index``.
    """

    engine: EngineClient
    request: BuildRequest
    source: ProjectSource
    lock: ProjectLock
    route: MirrorRoute
    index: str
    build_base: EngineImage
    run_base: EngineImage
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabeledImage:
    """An image that was built and not proved: its id, and the connections of its build.

    ``add_labels`` returns the id of the same image with labels.
    """

    id: str
    relayed: int
    elsewhere: int
    add_labels: Callable[[dict[str, str]], str]


@contextmanager
def build_with_dockerfile(job: BuildJob) -> Iterator[UnlabeledImage]:
    """Yield the image that the engine's classic builder makes."""
    engine, recipe = job.engine, job.request.recipe
    dockerfile = _render(
        recipe,
        job.source,
        job.lock,
        job.route,
        job.build_base.id,
        job.run_base.id,
        engine.deadline,
    )
    files = _collect_files(dockerfile, job.lock) | _choose_backends(
        recipe, job.source, job.lock, job.index, engine.deadline
    )
    with open_sandbox(engine, job.run_base.id, job.route) as sandbox:
        job.progress.step("build")
        steps = BuildProgress(job.progress, sandbox)
        image = _build_in_sandbox(engine, files, job.source, steps, sandbox, job.request.no_cache)
        relayed, elsewhere = sandbox.count_relayed(), len(sandbox.attempts())
    yield UnlabeledImage(
        id=image,
        relayed=relayed,
        elsewhere=elsewhere,
        add_labels=lambda labels: _add_labels(engine, image, labels),
    )


@contextmanager
def build_by_assembly(job: BuildJob) -> Iterator[UnlabeledImage]:
    """Yield the image of layers that we write; see images/assembly."""
    engine, request = job.engine, job.request
    check_engine(engine)
    install = InstallRequest(
        recipe=request.recipe,
        image=job.build_base.id,
        index=job.route.sandbox_url,
        pins=job.lock.pins,
        constraints=_choose_backends(
            request.recipe, job.source, job.lock, job.index, engine.deadline
        ),
        members=list_members(request.recipe, job.source, job.lock),
        versions=_find_versions(request.recipe, job.source, job.lock, engine.deadline),
        source=job.source,
        fresh=request.no_cache,
    )
    assembler = Assembler(
        engine, job.run_base, install, LayerCache.of_user(), job.progress, label=RECIPE_LABEL
    )
    with assembler.hold():
        with AssemblySteps(engine, job.run_base.id, job.route, job.progress) as steps:
            try:
                image = assembler.assemble(steps)
            except ForbiddenHostError:
                raise
            except EngineError as error:
                _explain(error, steps.output, steps.sandbox)
                raise
            relayed, elsewhere = steps.relayed, steps.elsewhere
        yield UnlabeledImage(
            id=image, relayed=relayed, elsewhere=elsewhere, add_labels=assembler.add_labels
        )


BUILDERS: Mapping[Builder, Callable[[BuildJob], AbstractContextManager[UnlabeledImage]]] = {
    "dockerfile": build_with_dockerfile,
    "assemble": build_by_assembly,
}


def preview_dockerfile(checked: CheckedRequest, deadline: Deadline) -> str:
    """Return the Dockerfile that a build would use. Builds nothing."""
    recipe = checked.request.recipe
    route = MirrorRoute(address="127.0.0.1", port=RELAY_PORT, path="/MIRROR/")
    bases = recipe.base, recipe.base
    return _render(recipe, checked.source, checked.lock, route, *bases, deadline)


def list_members(
    recipe: ApplicationRecipe, source: ProjectSource, lock: ProjectLock
) -> tuple[str, ...]:
    """Return the folders of the source to install: the project itself, and what its lock names."""
    own = source.project or "."
    is_installed = recipe.install_project and is_installable(source.folder / source.project)
    installed = (own,) if is_installed else ()
    return tuple(dict.fromkeys((*installed, *lock.members)))


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
        members=list_members(recipe, source, lock),
        versions=_find_versions(recipe, source, lock, deadline),
    )


def _choose_backends(
    recipe: ApplicationRecipe,
    source: ProjectSource,
    lock: ProjectLock,
    index: str,
    deadline: Deadline,
) -> dict[str, bytes]:
    """Return the files with the build backends of the packages, and of the project's own builds."""
    members = [source.folder / member for member in list_members(recipe, source, lock)]
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
    folders = {member: source.folder / member for member in list_members(recipe, source, lock)}
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
        _explain(error, engine.last_output, sandbox)
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
            next_step="builds can only use the mirror: add it to the lock, or --vendor NAME=WHEEL",
        )
    return image


def _explain(error: EngineError, output: str, sandbox: Sandbox | None) -> None:
    """Add to the error of a failed step what the sandbox has seen, and what to change.

    Raises FailedStepError if a change of the recipe may help.
    """
    changes: tuple[str, ...] = ()
    with suppress(EngineError):  # the engine may have gone away
        changes = explain_failure(error, output, sandbox) if sandbox else ()
    if changes:
        failed = FailedStepError(error.what, why=error.why, next_step=error.next_step)
        failed.changes = changes
        raise failed from error


def _add_labels(engine: EngineClient, image: str, labels: dict[str, str]) -> str:
    """Return the id of the same image with labels; no layer is added."""
    dockerfile = render_label_dockerfile(image, labels).encode()
    return build_unnamed(
        engine, {"Dockerfile": dockerfile}, SILENT, network_mode="none", append_log=True
    )
