"""`build-image`: build images from recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.delivery_options import DeliveryFlags, delivery_options
from cli.inputs import Checked, check_url
from cli.options import HELP, IMAGE, ClusterOptions, OutputFormat, cluster_options, read_ca_option
from mirror.core.codec import dump
from mirror.settings import check_index_url

_PATH = click.Path(path_type=Path)


@click.command(name="build-image", context_settings=HELP)
@click.argument("project", metavar="RECIPE|PATH", required=False)
@click.option("--list", "list_recipes", is_flag=True, help="List the recipes.")
@click.option("--source", metavar="DIR|GIT_URL[@REV]", help="The project, for a recipe.")
@click.option("--recipe", "recipe_file", type=_PATH, metavar="FILE", help="Use your own recipe.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="Also install this extra.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Also install this group.")
@click.option("--base", type=IMAGE, metavar="IMAGE", help="Build on this base image.")
@click.option("--tag", type=IMAGE, metavar="REF", help="Name of the image.  [default: RECIPE:ID]")
@click.option(
    "--mirror",
    "mirror_url",
    type=Checked("url", check_index_url),
    metavar="URL",
    help="Index to install from.  [default: this machine's mirror, else the cluster's]",
)
@click.option(
    "--apt-mirror",
    type=Checked("url", check_url),
    metavar="URL",
    help="Install Debian packages from there.",
)
@click.option(
    "--vendor",
    "vendors",
    multiple=True,
    metavar="NAME=WHEEL|DIR|URL",
    help="Use this instead of a locked source that cannot be reached.",
)
@click.option("--no-proof", is_flag=True, help="Skip the proof; a label says so.")
@click.option("--no-cache", is_flag=True, help="Do not reuse layers of earlier builds.")
@click.option(
    "--print",
    "preview",
    type=click.Choice(["recipe", "dockerfile"]),
    help="Print it and build nothing.",
)
@click.option("--report", type=_PATH, metavar="FILE", help="Write the whole report as JSON.")
@click.option("--sbom", type=_PATH, metavar="FILE", help="Write a CycloneDX bill of materials.")
@click.option(
    "--deployment", type=_PATH, metavar="FILE", help="Write Deployments of the start commands."
)
@click.option(
    "--output", "archive", type=_PATH, metavar="TAR", help="Write the image as `docker save` does."
)
@click.option("--push", is_flag=True, help="Push the image to the registry in its --tag.")
@delivery_options("the image stays in the engine")
@click.option(
    "--ca-bundle",
    type=_PATH,
    metavar="FILE",
    help="CA certificates (PEM) to trust while building the mirror's image.",
)
@cluster_options("30m")
@click.option(
    "-o",
    "--format",
    "output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Format of the result; progress goes to stderr.",
)
@click.version_option(package_name="pypi-mirror")
def build_image(
    project: str | None,
    list_recipes: bool,
    base: str | None,
    ca_bundle: Path | None,
    delivery: DeliveryFlags,
    output: OutputFormat,
    target: ClusterOptions,
    **options: Any,
) -> None:
    """Build an image that has all its packages, and prove that it starts with no network.

    All packages come from the mirror, at the versions and hashes of the project's lock.

    \b
    build-image --list
    build-image mirror                       the mirror's own image
    build-image chronicle --source ~/chronicle --tag chronicle:1
    build-image .                            any project with a uv.lock
    build-image . --print recipe > my.toml   ... then edit it: build-image . --recipe my.toml
    build-image . --vendor mylib=../mylib --deliver nodes
    """
    from cli import build_workflow

    if list_recipes:
        for name, title in build_workflow.list_recipes():
            click.echo(f"{name:<12} {title}")
    elif project == "mirror":
        _refuse_options(options | dump(delivery))
        build_workflow.run_mirror_build(target, base, read_ca_option(ca_bundle), output)
    else:
        options |= {"project": project, "base": base, "delivery": delivery}
        build = build_workflow.BuildOptions(**options)
        build_workflow.run_application_build(build, target, output)


def _refuse_options(options: dict[str, Any]) -> None:
    """Raise UsageError for options of applications: `mirror up` names and delivers its image."""
    flags = {parameter.name: parameter.opts[-1] for parameter in build_image.params}
    for name, value in options.items():
        if value:
            raise click.UsageError(f"build-image mirror takes no {flags[name]}: see mirror up")
