"""Run `build-image`: turn its options into a recipe and a request, and print the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import click
from packaging.utils import canonicalize_name

from cli.delivery_options import DeliveryFlags
from cli.index_session import open_build_index
from cli.options import ClusterOptions, OutputFormat
from cli.output import terminal
from images.application_recipe import ApplicationRecipe, load_application_recipe
from images.build_application import BuildRequest, build_application, preview_dockerfile
from images.build_mirror import build_mirror
from images.derived_recipe import derive_recipe, render_recipe
from images.engine import EngineClient
from images.recipes import RECIPES, list_recipe_names
from images.report import BuildReport, render_sbom
from images.shared_build import describe_image
from images.source import open_source
from images.toml_file import read_toml
from mirror.core.codec import dump
from mirror.core.errors import InputError, UnfitError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of an application's build; `build-image --help` describes them."""

    project: str | None
    source: str | None
    recipe_file: Path | None
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    base: str | None
    tag: str | None
    mirror_url: str | None
    apt_mirror: str | None
    vendors: tuple[str, ...]
    no_proof: bool
    no_cache: bool
    preview: str | None
    report: Path | None
    sbom: Path | None
    deployment: Path | None
    archive: Path | None
    push: bool
    delivery: DeliveryFlags


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
    recipe = _load_recipe(options, project, source, deadline)
    if options.preview == "recipe":
        click.echo(render_recipe(recipe), nl=False)
        return
    request = BuildRequest(
        recipe=recipe,
        source=source,
        tag=options.tag,
        apt_mirror=options.apt_mirror,
        vendor_sources=_parse_vendors(options.vendors),
        prove=not options.no_proof,
        no_cache=options.no_cache,
    )
    if options.preview == "dockerfile":
        click.echo(preview_dockerfile(request, deadline), nl=False)
        return
    with terminal.progress() as progress:
        engine = EngineClient.connect(deadline)
        with open_build_index(options.mirror_url, target, deadline) as index:
            report = build_application(engine, request, index, progress)
        if options.archive:
            progress.step(f"write {options.archive}")
            _save_archive(engine, report.reference, options.archive)
        digest = engine.push(report.reference, progress) if options.push else ""
        delivered = _deliver(engine, report, options, target, progress)
    if options.deployment:
        image = delivered or report.reference + (f"@{digest}" if digest else "")
        _write_deployments(options.deployment, recipe, report, image)
    if options.report:
        options.report.write_text(json.dumps(dump(report), indent=2) + "\n")
    if options.sbom:
        options.sbom.write_text(render_sbom(report))
    if output == "table":
        _print_report(report, delivered, options.deployment)
    else:
        terminal.document(report, output)


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


def _load_recipe(
    options: BuildOptions, project: str, source: str, deadline: Deadline
) -> ApplicationRecipe:
    """Return the recipe of a file, of a name, or derived from the source, with the options."""
    if options.recipe_file:
        recipe = load_application_recipe(options.recipe_file)
    elif project in list_recipe_names():
        recipe = load_application_recipe(RECIPES / f"{project}.toml")
    else:
        with open_source(source, "", deadline) as opened:
            recipe = derive_recipe(opened, base=options.base)
    return replace(
        recipe,
        base=options.base or recipe.base,
        extras=tuple(dict.fromkeys((*recipe.extras, *options.extras))),
        groups=tuple(dict.fromkeys((*recipe.groups, *options.groups))),
    )


def _parse_vendors(values: tuple[str, ...]) -> dict[str, str]:
    sources = {}
    for value in values:
        name, equals, origin = value.partition("=")
        if not (name and equals and origin):
            raise InputError(
                f"not NAME=WHEEL|DIR|URL: {value!r}", next_step="--vendor mylib=../mylib"
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


def _deliver(
    engine: EngineClient,
    report: BuildReport,
    options: BuildOptions,
    target: ClusterOptions,
    progress: Progress,
) -> str:
    """Bring the image to the nodes if asked to; return the reference that pods use, or ""."""
    if not options.delivery.deliver:
        return ""
    from deploy.cluster.node_images import check_architecture
    from deploy.delivery import choose_method

    delivery = options.delivery.to_delivery_options()
    cluster = target.connect()
    method = choose_method(cluster, delivery)
    check_architecture(report.architecture, cluster.list("Node"))
    image = describe_image(engine, report.reference, built=True)
    return method.deliver(image, engine, cluster, delivery, progress).reference


def _write_deployments(
    path: Path, recipe: ApplicationRecipe, report: BuildReport, image: str
) -> None:
    """Write the application's objects; pods are annotated with every digest of the image."""
    from deploy.manifests.application import render_application

    digests = [report.id, *image.partition("@")[2:]]
    proved = tuple(digest for digest in digests if digest) if report.proof else ()
    with path.open("w") as file:
        terminal.yaml_documents(render_application(recipe, image, proved), file)


def _print_report(report: BuildReport, delivered: str, deployment: Path | None) -> None:
    layers = ", ".join(f"{layer.name} {_format_bytes(layer.bytes)}" for layer in report.layers)
    parts = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    lock = f"{report.lock} {report.lock_sha256[:12]}"
    rows = [
        ("id", report.id),
        ("size", f"{_format_bytes(report.size)}: {layers}"),
        ("packages", f"{len(report.distributions)} from {lock}"),
        ("files", f"{report.files}, sha256 {report.files_sha256}"),
        ("network", f"{report.relayed} connections to the mirror, {report.elsewhere} elsewhere"),
        ("seconds", f"{sum(report.seconds.values()):.1f}: {parts}"),
    ]
    for vendored in report.vendored:
        suffix = " (stand-in)" if vendored.stand_in else ""
        rows.append(("vendored", f"{vendored.name} {vendored.version}{suffix}"))
    rows += [("from sdist", distribution) for distribution in report.built_from_sdist]
    if report.built_with:
        rows.append(("built with", ", ".join(report.built_with)))
    if report.left_out:
        rows.append(("left out", ", ".join(report.left_out)))
    rows += [("proof", f"✓ {result.summary}") for result in report.proof]
    if not report.proof:
        rows.append(("proof", "none: --no-proof"))
    attempts = [attempt for result in report.proof for attempt in result.attempts]
    if hosts := dict.fromkeys(attempt.host for attempt in attempts):
        rows.append(("", f"it looks up {', '.join(hosts)}, as expected"))
    if delivered:
        rows.append(("on the nodes", delivered))
    if deployment:
        rows.append(("next", f"kubectl apply -f {deployment}"))
    terminal.facts(report.reference, rows)


def _format_bytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
