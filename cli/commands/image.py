"""`build-image`: images made from recipes."""

from __future__ import annotations

from pathlib import Path

import click

from cli import show
from cli.options import HELP, OutputFormat, output_option
from mirror.core.errors import InputError
from mirror.core.wait import Deadline


@click.command(name="build-image", context_settings=HELP)
@click.argument("name", metavar="RECIPE", required=False)
@click.option("--list", "listed", is_flag=True, help="List the recipes.")
@click.option("--base", metavar="IMAGE", help="Build on this base image.")
@click.option(
    "--ca-bundle",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CA certificates (PEM) to trust while building; they stay in no layer.",
)
@click.option("--timeout", type=float, default=900, show_default=True, metavar="SECONDS")
@output_option
@click.version_option(package_name="pypi-mirror")
def build_image(
    name: str | None,
    listed: bool,
    base: str | None,
    ca_bundle: Path | None,
    timeout: float,
    output: OutputFormat,
) -> None:
    """Build an image from a recipe with the Docker engine.

    \b
    build-image --list
    build-image mirror          the mirror's own image, for `mirror up --image` elsewhere
    """
    from images.build import build_mirror, read_ca_bundle
    from images.engine import Engine
    from images.recipe import RECIPES

    known = sorted(path.stem for path in RECIPES.glob("*.toml"))
    if listed:
        for one in known:
            click.echo(one)
        return
    if name not in known:
        raise InputError(
            f"no recipe {name!r}" if name else "which recipe?",
            why="there are: " + ", ".join(known),
            next_step="build-image mirror",
        )
    ca = read_ca_bundle(ca_bundle) if ca_bundle else None
    with show.progress() as progress:
        engine = Engine.connect(Deadline.after(timeout))
        made = build_mirror(engine, base=base, ca=ca, progress=progress)
    if output != "table":
        show.document(made, output)
        return
    show.facts(
        made.reference,
        [
            ("id", made.id),
            ("for", made.architecture),
            ("size", f"{made.size / 1e6:.0f} MB"),
            ("", "built now" if made.built else "was there already, unchanged"),
        ],
    )
