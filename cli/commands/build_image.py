"""`build-image`: images made from recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.options import HELP, ClusterOptions, OutputFormat, cluster_options

_PATH = click.Path(path_type=Path)


@click.command(name="build-image", context_settings=HELP)
@click.argument("what", metavar="RECIPE|PATH", required=False)
@click.option("--list", "listed", is_flag=True, help="List the recipes.")
@click.option("--source", metavar="DIR|GIT_URL[@REV]", help="The project, for a recipe.")
@click.option("--recipe", "recipe_file", type=_PATH, metavar="FILE", help="A recipe of your own.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="Install this extra too.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Install this group too.")
@click.option("--base", metavar="IMAGE", help="Build on this base image.")
@click.option("--tag", metavar="REF", help="Name of the image.  [default: RECIPE:ID]")
@click.option(
    "--mirror",
    "mirror_url",
    metavar="URL",
    help="Index to install from.  [default: this machine's mirror, else the cluster's]",
)
@click.option("--apt-mirror", metavar="URL", help="Take the distribution's packages from there.")
@click.option(
    "--vendor",
    "vendors",
    multiple=True,
    metavar="NAME=WHEEL|DIR|URL",
    help="Use this in place of a locked source that cannot be reached.",
)
@click.option("--no-proof", is_flag=True, help="Do not prove it; a label says so.")
@click.option("--no-cache", is_flag=True, help="Take no layer of an earlier build.")
@click.option(
    "--print",
    "printed",
    type=click.Choice(["recipe", "dockerfile"]),
    help="Show it; build nothing.",
)
@click.option("--report", type=_PATH, metavar="FILE", help="Write the whole report there as JSON.")
@click.option("--sbom", type=_PATH, metavar="FILE", help="Write a CycloneDX bill of materials.")
@click.option(
    "--deployment", type=_PATH, metavar="FILE", help="Write Deployments of its start commands."
)
@click.option(
    "--output", "archive", type=_PATH, metavar="TAR", help="Write the image as `docker save` does."
)
@click.option("--push", is_flag=True, help="Push the image to the registry in its --tag.")
@click.option(
    "--deliver", metavar="WAY", help="To the nodes: nodes, ssh, registry, microk8s or kind."
)
@click.option("--registry", metavar="HOST[:PORT][/PATH]", help="For --deliver registry.")
@click.option("--import-command", metavar="TEMPLATE", help="For --deliver nodes; as in mirror up.")
@click.option("--ssh", metavar="TEMPLATE", help="For --deliver ssh; as in mirror up.")
@click.option(
    "--ca-bundle",
    type=_PATH,
    metavar="FILE",
    help="CA certificates (PEM) to trust while building the mirror's image.",
)
@cluster_options(default_timeout=1800)
@click.option(
    "-o",
    "--format",
    "output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How the result is printed; progress goes to stderr.",
)
@click.version_option(package_name="pypi-mirror")
def build_image(
    what: str | None, listed: bool, output: OutputFormat, target: ClusterOptions, **told: Any
) -> None:
    """Build an image with everything baked in, and prove that it starts with no network.

    All packages come from the mirror, at the versions and hashes of the project's lock.

    \b
    build-image --list
    build-image mirror                       the mirror's own image
    build-image chronicle --source ~/chronicle --tag chronicle:1
    build-image .                            any project with a uv.lock
    build-image . --print recipe > my.toml   ... then edit it: build-image . --recipe my.toml
    build-image . --vendor mylib=../mylib --deliver nodes
    """
    from cli import image_builder

    if listed:
        for name, title in image_builder.list_recipes():
            click.echo(f"{name:<12} {title}")
    elif what == "mirror":
        _only(told, "base", "ca_bundle")
        image_builder.run_mirror_build(target, told["base"], told["ca_bundle"], output)
    else:
        image_builder.run_application_build(
            image_builder.parse_arguments(what, told), target, output
        )


def _only(told: dict[str, Any], *names: str) -> None:
    """The mirror's image is named, checked and delivered by `mirror up`."""
    options = {one.name: one.opts[-1] for one in build_image.params}
    for name, value in told.items():
        if value and name not in names:
            raise click.UsageError(f"build-image mirror takes no {options[name]}: see mirror up")
