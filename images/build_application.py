"""Build an application's image: source → lock → vendor → base → sandboxed build → proof → name."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from images.application_dockerfile import SYSTEM_SCRIPT, render_base_dockerfile
from images.application_recipe import ApplicationRecipe
from images.base_python import check_base_image, check_base_tag, has_known_python
from images.builders import (
    BUILDERS,
    BuildJob,
    BuildRequest,
    ChangeableError,
    CheckedRequest,
    UnlabeledImage,
    list_members,
)
from images.debian_packages import advise_on_packages
from images.engine import EngineClient, EngineImage
from images.engine.leftovers import remove_leftovers
from images.inspect import inspect_image
from images.project_lock import ProjectLock, read_project_lock
from images.proof import ProofResult, ProofSubject, judge_proof, run_proof
from images.proof_cache import ProofCache, run_cached
from images.recipes import RECIPES
from images.report import RECIPE_LABEL, BuildReport, report_labels
from images.sandbox import MirrorRoute
from images.shared_build import build_unnamed, get_base_image
from images.source import ProjectSource, open_source
from images.source_facts import read_source_facts
from images.vendor import PrivateIndex, check_sources, vendor
from mirror.core.errors import EngineError, RefusedError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_SCRATCH = "pypi-mirror-vendor-"


class ImageProofError(ChangeableError):
    """The image was built, but failed its proof. It has no name."""


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
    build = BUILDERS[request.builder]
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
    job = BuildJob(
        engine=engine,
        request=request,
        source=source,
        lock=lock,
        route=route,
        index=index.url,
        build_base=build_base,
        run_base=run_base,
        progress=progress,
    )
    with ExitStack() as stack:
        with _measure(seconds, "build"):
            built = stack.enter_context(build(job))
        subject = ProofSubject(
            engine=engine,
            image=built.id,
            recipe=recipe,
            lock=lock,
            source=read_source_facts(source, recipe, list_members(recipe, source, lock)),
            progress=progress,
        )
        reference = request.tag or f"{recipe.name}:{built.id.removeprefix('sha256:')[:12]}"
        report = _prove_and_inspect(job, built, subject, reference, seconds)
        report = replace(report, vendored=vendored)
        with _measure(seconds, "bill"):
            labels = report_labels(report, recipe.name, recipe.title or recipe.name)
            image = built.add_labels(labels)
            _check_tag(engine, reference, recipe)  # it may have been taken during the build
            engine.tag(image, reference)
    return replace(report, id=image, seconds=seconds)


def _prove_and_inspect(
    job: BuildJob,
    built: UnlabeledImage,
    subject: ProofSubject,
    reference: str,
    seconds: dict[str, float],
) -> BuildReport:
    """Return the report of an image that has passed its proof; add the seconds of both."""
    with ThreadPoolExecutor(1) as executor:  # the proof mostly waits
        inspection = executor.submit(inspect_image, subject, job.run_base)
        proof: tuple[ProofResult, ...] = ()
        if job.request.prove:
            with _measure(seconds, "proof"):
                cache = None if job.request.no_cache else ProofCache.of_user()
                proof = _prove(subject, reference, cache)
        with _measure(seconds, "bill"):
            job.progress.step("inspect the image")
            return replace(
                inspection.result(),
                reference=reference,
                revision=job.source.revision,
                relayed=built.relayed,
                elsewhere=built.elsewhere,
                left_out=job.source.left_out,
                proof=proof,
                proof_verdict=judge_proof(proof),
                mounts=_list_mounts(subject),
            )


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
    seconds[part] = round(seconds.get(part, 0) + time.monotonic() - start, 2)
