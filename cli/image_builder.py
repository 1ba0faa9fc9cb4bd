"""What `build-image` does with its options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import click
from packaging.utils import canonicalize_name

from cli.build_index import open_build_index
from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat
from cli.output import terminal
from images.application_recipe import (
    ApplicationRecipe,
    is_application_recipe,
    list_recipe_names,
    load_application_recipe,
)
from images.build_application import BuildRequest, build_application, preview_dockerfile
from images.build_mirror import BuiltImage, build_mirror, read_ca_bundle
from images.derived_recipe import derive_recipe, render_recipe
from images.engine import EngineClient
from images.mirror_recipe import RECIPES, load_mirror_recipe
from images.report import BuildReport, render_sbom
from images.source import open_source
from mirror.core.codec import dump
from mirror.core.errors import InputError, UnfitError
from mirror.core.wait import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildArguments:
    """The options of an application's build; the recipe may still have to be read."""

    project: str
    source: str
    options: Mapping[str, Any]


def list_recipes() -> Iterator[tuple[str, str]]:
    """Name and title of each recipe."""
    for name in list_recipe_names():
        if is_application_recipe(name):
            yield name, load_application_recipe(RECIPES / f"{name}.toml").title
        else:
            yield name, load_mirror_recipe(name).title


def run_mirror_build(
    target: ClusterOptions, base: str | None, ca_bundle: Path | None, output: OutputFormat
) -> None:
    """The mirror's own image."""
    ca = read_ca_bundle(ca_bundle) if ca_bundle else None
    with terminal.progress() as progress:
        engine = EngineClient.connect(Deadline.after(target.timeout))
        made = build_mirror(engine, base=base, ca=ca, progress=progress)
    if output != "table":
        terminal.document(made, output)
        return
    terminal.facts(
        made.reference,
        [
            ("id", made.id),
            ("for", made.architecture),
            ("size", f"{made.size / 1e6:.0f} MB"),
            ("", "built now" if made.built else "was there already, unchanged"),
        ],
    )


def parse_arguments(what: str | None, options: Mapping[str, Any]) -> BuildArguments:
    """Which project is meant. InputError for a name that is neither a recipe nor a folder."""
    names = list_recipe_names()
    source = options["source"]
    if what is None and options["recipe_file"] and source:
        what = source
    if what is None:
        raise InputError(
            "which recipe?", why="there are: " + ", ".join(names), next_step="build-image --help"
        )
    if what in names and source is None:
        raise InputError(
            f"where is the source of {what}?",
            why="the recipe says how to build it, not where it is",
            next_step=f"build-image {what} --source DIR (or a git URL, with @REV)",
        )
    if what not in names and not Path(what).is_dir() and "://" not in what:
        raise InputError(
            f"no recipe {what!r}, and no such folder",
            why="there are: " + ", ".join(names),
            next_step="build-image mirror, or build-image PATH",
        )
    return BuildArguments(project=what, source=str(source or what), options=options)


def run_application_build(
    asked: BuildArguments, target: ClusterOptions, output: OutputFormat
) -> None:
    """Build, prove, name; then save, push or deliver."""
    told, deadline = asked.options, Deadline.after(target.timeout)
    _check_targets(told)
    recipe = _recipe(asked, deadline)
    if told["printed"] == "recipe":
        click.echo(render_recipe(recipe), nl=False)
        return
    order = BuildRequest(
        recipe=recipe,
        source=asked.source,
        index="",
        tag=told["tag"],
        apt_mirror=told["apt_mirror"],
        vendor_sources=_vendors(told["vendors"]),
        prove=not told["no_proof"],
        no_cache=told["no_cache"],
    )
    if told["printed"] == "dockerfile":
        click.echo(preview_dockerfile(order, deadline), nl=False)
        return
    with terminal.progress() as progress:
        engine = EngineClient.connect(deadline)
        with open_build_index(told["mirror_url"], target, deadline) as found:
            order = replace(order, index=found.url)
            report = build_application(engine, order, found.upload, progress, deadline)
        if told["archive"]:
            progress.step(f"write {told['archive']}")
            _save(engine, report.reference, told["archive"])
        pushed = engine.push(report.reference, progress) if told["push"] else ""
        where = _deliver(engine, report, target, told, progress)
    if told["deployment"]:
        image = where or report.reference + (f"@{pushed}" if pushed else "")
        _deployments(told["deployment"], recipe, report, image)
    if told["report"]:
        told["report"].write_text(json.dumps(dump(report), indent=2) + "\n")
    if told["sbom"]:
        told["sbom"].write_text(render_sbom(report))
    if output == "table":
        _table(report, where, told)
    else:
        terminal.document(report, output)


def _check_targets(told: Mapping[str, Any]) -> None:
    """Before minutes of work."""
    for path in (told[one] for one in ("archive", "deployment", "report", "sbom") if told[one]):
        if path.is_dir() or not path.parent.is_dir():
            raise InputError(
                f"cannot write {path}",
                why="it is a folder" if path.is_dir() else f"there is no folder {path.parent}",
                next_step="name a file in a folder that is there",
            )


def _recipe(asked: BuildArguments, deadline: Deadline) -> ApplicationRecipe:
    told = asked.options
    if told["recipe_file"]:
        recipe = load_application_recipe(told["recipe_file"])
    elif asked.project in list_recipe_names():
        recipe = load_application_recipe(RECIPES / f"{asked.project}.toml")
    else:
        with open_source(asked.source, "", deadline) as source:
            recipe = derive_recipe(source.folder)
    return replace(
        recipe,
        base=told["base"] or recipe.base,
        extras=tuple(dict.fromkeys((*recipe.extras, *told["extras"]))),
        groups=tuple(dict.fromkeys((*recipe.groups, *told["groups"]))),
    )


def _vendors(words: tuple[str, ...]) -> dict[str, str]:
    given = {}
    for word in words:
        name, equals, origin = word.partition("=")
        if not (name and equals and origin):
            raise InputError(
                f"not NAME=WHEEL|DIR|URL: {word!r}", next_step="--vendor mylib=../mylib"
            )
        given[str(canonicalize_name(name))] = origin
    return given


def _save(engine: EngineClient, reference: str, target: Path) -> None:
    """The whole archive or none: what was there before stays until then."""
    try:
        with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as out:
            part = Path(out.name)
            try:
                engine.save(reference, out.file)
                part.chmod(0o644)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except OSError as broken:
        raise UnfitError(
            f"cannot write {target}",
            why=broken.strerror or str(broken),
            next_step=f"the image is made: docker save --output FILE {reference}",
        ) from broken


def _deliver(
    engine: EngineClient,
    report: BuildReport,
    target: ClusterOptions,
    told: Mapping[str, Any],
    progress: Any,
) -> str:
    if not told["deliver"]:
        return ""
    from deploy.cluster.node_images import check_architecture
    from deploy.delivery import DeliveryOptions, choose_method

    options = DeliveryOptions(
        method=told["deliver"],
        registry=told["registry"],
        import_command=told["import_command"],
        ssh=told["ssh"],
    )
    cluster = connect(target)
    way = choose_method(cluster, options)
    check_architecture(report.architecture, cluster.list("Node"))
    image = BuiltImage(
        reference=report.reference,
        id=report.id,
        architecture=report.architecture,
        size=report.size,
        built=True,
    )
    return way.deliver(image, engine, cluster, options, progress).reference


def _deployments(path: Path, recipe: ApplicationRecipe, report: BuildReport, image: str) -> None:
    """Pods name what was proved by each digest that nodes may call it by."""
    from deploy.manifests.application import render_application as manifests

    digests = [report.id, *image.partition("@")[2:]]
    proved = tuple(one for one in digests if one) if report.proof else ()
    with path.open("w") as out:
        terminal.yaml_documents(manifests(recipe, image, proved), out)


def _table(report: BuildReport, where: str, told: Mapping[str, Any]) -> None:
    layers = ", ".join(f"{one.name} {_bytes(one.bytes)}" for one in report.layers)
    parts = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    rows = [
        ("id", report.id),
        ("size", f"{_bytes(report.size)}: {layers}"),
        ("packages", f"{len(report.distributions)} from {report.lock} {report.lock_sha256[:12]}"),
        ("files", f"{report.files}, sha256 {report.files_sha256}"),
        ("network", f"{report.relayed} connections to the mirror, {report.elsewhere} elsewhere"),
        ("seconds", f"{sum(report.seconds.values()):.1f}: {parts}"),
    ]
    rows += [
        ("vendored", f"{one.name} {one.version}" + (" (stand-in)" if one.stand_in else ""))
        for one in report.vendored
    ]
    rows += [("from sdist", one) for one in report.built_from_sdist]
    rows += [("built with", ", ".join(report.built_with))] if report.built_with else []
    rows += [("left out", ", ".join(report.left_out))] if report.left_out else []
    rows += [("proof", f"✓ {one.said}") for one in report.proof]
    rows += [] if report.proof else [("proof", "none: --no-proof")]
    hosts = dict.fromkeys(seen.host for one in report.proof for seen in one.tried)
    rows += [("", f"it looks for {', '.join(hosts)}, as expected")] if hosts else []
    rows += [("on the nodes", where)] if where else []
    if told["deployment"]:
        rows.append(("next", f"kubectl apply -f {told['deployment']}"))
    terminal.facts(report.reference, rows)


def _bytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
