"""Run `build-image`: turn its options into a recipe and a request, and print the report."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import click
from packaging.utils import canonicalize_name

from cli.delivery_options import DeliveryFlags
from cli.image_delivery import ImageDelivery
from cli.index_session import open_build_index
from cli.options import ClusterOptions, OutputFormat
from cli.output import terminal
from cli.output.build_report import print_build_report
from cli.output.project_reading import print_reading
from images.application_recipe import ApplicationRecipe, load_application_recipe
from images.build_application import build_application, check_request
from images.build_mirror import build_mirror
from images.builders import (
    Builder,
    BuildRequest,
    ChangeableError,
    CheckedRequest,
    preview_dockerfile,
)
from images.derived_recipe import read_source_project, render_reading
from images.engine import EngineClient
from images.project.reading import Conclusion, ProjectReading, find_line
from images.recipe_changes import change_recipe
from images.recipes import RECIPES, list_recipe_names
from images.report import BuildReport, render_sbom
from images.source import open_source
from images.toml_file import read_toml
from mirror.core.codec import dump
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.wait import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of an application's build; `build-image --help` describes them."""

    project: str | None
    source: str | None
    recipe_file: Path | None
    package: str | None
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    base: str | None
    settings: tuple[str, ...]
    explain: bool
    tag: str | None
    mirror_url: str | None
    apt_mirror: str | None
    vendors: tuple[str, ...]
    no_proof: bool
    no_cache: bool
    builder: Builder
    preview: str | None
    report: Path | None
    sbom: Path | None
    deployment: Path | None
    archive: Path | None
    push: bool
    delivery: DeliveryFlags


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRecipe:
    """The recipe of a build, with the options applied, and what it was derived from."""

    title: str
    reading: ProjectReading
    given: tuple[tuple[str, str], ...]  # name and value of what options changed


def list_recipes() -> Iterator[tuple[str, str]]:
    """Yield name and title of each recipe."""
    for name in list_recipe_names():
        yield name, read_toml(RECIPES / f"{name}.toml")["title"]


def run_mirror_build(
    target: ClusterOptions, base: str | None, ca: str | None, output: OutputFormat
) -> None:
    """Build the mirror's image and print it. ``ca``: certificates in PEM format."""
    with terminal.progress() as progress:
        engine = EngineClient.connect(Deadline.after(target.timeout))
        image = build_mirror(engine, base=base, ca=ca, progress=progress)
    if output != "table":
        terminal.document(image, output)
        return
    terminal.facts(
        image.reference,
        [
            ("id", image.id),
            ("for", image.architecture),
            ("size", f"{image.size / 1e6:.0f} MB"),
            ("", "built now" if image.built else "already existed, unchanged"),
        ],
    )


def run_application_build(
    options: BuildOptions, target: ClusterOptions, output: OutputFormat
) -> None:
    """Build, prove and name an image; then save, push and deliver it, and print the report."""
    deadline = Deadline.after(target.timeout)
    project = _find_project(options)
    source = options.source or project
    _check_files(options)
    chosen = _choose_recipe(options, project, source, deadline)
    if options.explain:
        _explain(options, chosen, source, deadline, output)
        return
    chosen.reading.check()
    if options.preview == "recipe":
        click.echo(render_reading(chosen.reading), nl=False)
        return
    request = BuildRequest(
        recipe=chosen.reading.recipe,
        source=source,
        tag=options.tag,
        apt_mirror=options.apt_mirror,
        vendor_sources=_parse_vendors(options.vendors),
        prove=not options.no_proof,
        no_cache=options.no_cache,
        builder=options.builder,
    )
    with check_request(request, deadline) as checked:
        if options.preview == "dockerfile":
            click.echo(preview_dockerfile(checked, deadline), nl=False)
            return
        _build(options, checked, chosen, target, deadline, output)


def _build(
    options: BuildOptions,
    checked: CheckedRequest,
    chosen: ChosenRecipe,
    target: ClusterOptions,
    deadline: Deadline,
    output: OutputFormat,
) -> None:
    with terminal.progress() as progress:
        delivery = ImageDelivery.choose(options.delivery, target)
        engine = EngineClient.connect(deadline)
        with open_build_index(options.mirror_url, target, deadline) as index:
            try:
                built = build_application(engine, checked, index, progress)
            except ChangeableError as error:
                error.next_step = _suggest_command(error)
                raise
        report = replace(
            built,
            not_taken=tuple(map(str, chosen.reading.not_taken)),
            unknown=chosen.reading.unknown,
        )
        if options.archive:
            progress.step(f"write {options.archive}")
            _save_archive(engine, report.reference, options.archive)
        digest = engine.push(report.reference, progress) if options.push else ""
        delivered = delivery.deliver(engine, report, progress) if delivery else ""
    commands: tuple[str, ...] = ()
    if options.deployment:
        image = delivered or report.reference + (f"@{digest}" if digest else "")
        commands = _write_deployments(options.deployment, checked.request.recipe, report, image)
    if options.report:
        options.report.write_text(json.dumps(dump(report), indent=2) + "\n")
    if options.sbom:
        options.sbom.write_text(render_sbom(report))
    if output == "table":
        print_build_report(report, delivered, commands)
    else:
        terminal.document(report, output)


def _suggest_command(error: ChangeableError) -> str:
    """Return the advice, with this command and the changes that it speaks of."""
    if not error.changes:
        return error.next_step
    words = [word for change in error.changes for word in ("--set", change)]
    command = shlex.join(("build-image", *sys.argv[1:], *words))
    return f"{error.next_step}:\n       {command}"


def _find_project(options: BuildOptions) -> str:
    """Return the recipe's name or the path or URL. Raises InputError for anything else."""
    names = list_recipe_names()
    available = "there are: " + ", ".join(names)
    project = options.project or (options.source if options.recipe_file else None)
    if project is None:
        raise InputError("no recipe was named", why=available, next_step="build-image --help")
    if project in names and options.source is None:
        raise InputError(
            f"recipe {project} needs the source of the project",
            why="the recipe describes how to build it, not where it is",
            next_step=f"build-image {project} --source DIR (or a git URL, with @REV)",
        )
    if project not in names and not Path(project).is_dir() and "://" not in project:
        raise InputError(
            f"no recipe {project!r}, and no such folder",
            why=available,
            next_step="build-image mirror, or build-image PATH",
        )
    return project


def _check_files(options: BuildOptions) -> None:
    """Raise InputError if a result cannot be written, before the build spends minutes on it."""
    for path in (options.archive, options.deployment, options.report, options.sbom):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(
                f"cannot write {path}",
                why="it is a folder" if path.is_dir() else f"there is no folder {path.parent}",
                next_step="name a file in a folder that exists",
            )


def _choose_recipe(
    options: BuildOptions, project: str, source: str, deadline: Deadline
) -> ChosenRecipe:
    """Return the recipe of a file, of a name, or derived from the source, with the options."""
    path = options.recipe_file
    if path is None and project in list_recipe_names():
        path = RECIPES / f"{project}.toml"
    reading = _read_recipe_file(path) if path else _read_project(source, options, deadline)
    changed = change_recipe(reading.recipe, options.settings)
    recipe = replace(
        changed,
        package=options.package or changed.package,
        base=options.base or changed.base,
        extras=tuple(dict.fromkeys((*changed.extras, *options.extras))),
        groups=tuple(dict.fromkeys((*changed.groups, *options.groups))),
    )
    given = (
        ("package", options.package or ""),
        ("base", options.base or ""),
        ("extras", ", ".join(options.extras)),
        ("groups", ", ".join(options.groups)),
        *(("set", setting) for setting in options.settings),
    )
    return ChosenRecipe(
        title=f"{recipe.name}, from {path or source}",
        reading=replace(reading, recipe=recipe),
        given=tuple((name, value) for name, value in given if value),
    )


def _read_project(source: str, options: BuildOptions, deadline: Deadline) -> ProjectReading:
    """Read a project, or the member of its workspace that an option or its Dockerfile names."""
    package = options.package or ""
    with open_source(source, "", deadline, package=package) as opened:
        reading = read_source_project(opened, base=options.base)
    member = reading.recipe.package
    if package or not member:
        return reading
    with open_source(source, "", deadline, package=member) as opened:
        inner = read_source_project(opened, base=options.base)
    found = tuple(entry for entry in reading.conclusions if entry.key == "package")
    recipe = replace(inner.recipe, package=member)
    return replace(inner, recipe=recipe, conclusions=(*found, *inner.conclusions))


def _read_recipe_file(path: Path) -> ProjectReading:
    """Return a recipe's file as a reading: every key of it is a conclusion."""
    recipe = load_application_recipe(path)
    keys = [key for key in read_toml(path) if key != "kind"]
    conclusions = (
        Conclusion(
            key=key,
            value=json.dumps(dump(getattr(recipe, key)), ensure_ascii=False),
            line=find_line(path, rf"\s*\[*{re.escape(key)}\b", path.name),
        )
        for key in keys
    )
    return ProjectReading(
        recipe=recipe,
        conclusions=tuple(conclusions),
        not_taken=(),
        unknown=(),
        contradictions=(),
    )


def _explain(
    options: BuildOptions,
    chosen: ChosenRecipe,
    source: str,
    deadline: Deadline,
    output: OutputFormat,
) -> None:
    """Print what a build would do and why, also about a lock that cannot be used; no engine."""
    reading = chosen.reading
    request = BuildRequest(
        recipe=reading.recipe, source=source, vendor_sources=_parse_vendors(options.vendors)
    )
    try:
        with check_request(request, deadline) as checked:
            lock = f"{checked.lock.file}: {len(checked.lock.pins)} distributions"
    except MirrorError as error:
        lock = f"{error} (next: {error.next_step})"
    if output == "table":
        print_reading(chosen.title, reading, lock, chosen.given)
    else:
        terminal.document({"lock": lock, **dump(reading)}, output)


def _parse_vendors(values: tuple[str, ...]) -> dict[str, str]:
    sources = {}
    for value in values:
        name, equals, origin = value.partition("=")
        if not (name and equals and origin):
            raise InputError(
                f"not NAME=WHEEL|DIR|URL: {value!r}",
                why="it says which locked package is taken from where",
                next_step="give one such as --vendor mylib=../mylib",
            )
        sources[str(canonicalize_name(name))] = origin
    return sources


def _save_archive(engine: EngineClient, reference: str, path: Path) -> None:
    """Write the archive beside its path, then replace the old file in one step."""
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            part = Path(out.name)
            try:
                engine.save(reference, out.file)
                part.chmod(0o644)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise UnfitError(
            f"cannot write {path}",
            why=error.strerror or str(error),
            next_step=f"the image is built: docker save --output FILE {reference}",
        ) from error


def _write_deployments(
    path: Path, recipe: ApplicationRecipe, report: BuildReport, image: str
) -> tuple[str, ...]:
    """Write the application's objects; pods are annotated with every digest of the image.

    Returns the commands that create them.
    """
    from deploy.manifests.application import (
        list_config_keys,
        name_config_map,
        render_application,
    )

    digests = [report.id, *image.partition("@")[2:]]
    is_proved = report.proof_verdict == "passed"
    proved = tuple(digest for digest in digests if digest) if is_proved else ()
    with path.open("w") as file:
        objects = render_application(recipe, image, proved, report.mounts)
        terminal.yaml_documents(objects, file)
    apply = shlex.join(("kubectl", "apply", "-f", str(path)))
    if not report.mounts:
        return (apply,)
    files = [f"--from-file={key}={key}" for key in list_config_keys(report.mounts).values()]
    name = name_config_map(recipe)
    return shlex.join(("kubectl", "create", "configmap", name, *files)), apply
