"""`build-image`: build images from recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import completion
from cli.delivery_options import DeliveryFlags, delivery_options
from cli.inputs import Checked, check_url
from cli.options import IMAGE, ClusterOptions, OutputFormat, cluster_options, read_ca_option
from cli.program import HELP
from mirror.core.codec import dump
from mirror.settings import check_index_url
from mirror.version import VERSION

_PATH = click.Path(path_type=Path)
_FORMATS = ("table", "json", "yaml")


@click.command(name="build-image", context_settings=HELP)
@click.argument(
    "project",
    metavar="RECIPE|PATH",
    required=False,
    shell_complete=completion.complete(completion.list_recipes),
)
@click.option("--list", "list_recipes", is_flag=True, help="List the recipes.")
@click.option("--source", metavar="DIR|GIT_URL[@REV]", help="The project, for a recipe.")
@click.option("--recipe", "recipe_file", type=_PATH, metavar="FILE", help="Use your own recipe.")
@click.option("--package", metavar="NAME", help="Build this member of the project's workspace.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="Also install this extra.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Also install this group.")
@click.option("--base", type=IMAGE, metavar="IMAGE", help="Build on this base image.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, as TOML; add to a list or a table. E.g. "
    "'run_packages=[\"libpq5\"]', 'starts.web.port=8000'",
)
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
    "--builder",
    type=click.Choice(["dockerfile", "assemble"]),
    default="dockerfile",
    show_default=True,
    help="Let the engine build a Dockerfile, or assemble the layers: faster, and the same digest "
    "each time.",
)
@click.option(
    "--print",
    "preview",
    type=click.Choice(["recipe", "dockerfile"]),
    help="Print it and build nothing.",
)
@click.option(
    "--explain",
    is_flag=True,
    help="Print what was concluded from which line of which file, and what is unknown.",
)
@click.option("--report", type=_PATH, metavar="FILE", help="Write the whole report as JSON.")
@click.option("--sbom", type=_PATH, metavar="FILE", help="Write a CycloneDX bill of materials.")
@click.option(
    "--deployment", type=_PATH, metavar="FILE", help="Write Deployments of the start commands."
)
@click.option(
    "--tar", "archive", type=_PATH, metavar="FILE", help="Write the image as `docker save` does."
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
    "--output",
    "output",
    multiple=True,
    metavar="[table|json|yaml]",
    help="Format of the result; progress goes to stderr.  [default: table]",
)
@click.option("--format", "old_format", type=click.Choice(_FORMATS), hidden=True)
@click.version_option(VERSION)
def build_image(
    project: str | None,
    list_recipes: bool,
    base: str | None,
    ca_bundle: Path | None,
    archive: Path | None,
    delivery: DeliveryFlags,
    output: tuple[str, ...],
    old_format: OutputFormat | None,
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
    build-image . --print recipe > my.toml   edit it, then --recipe my.toml
    build-image . --explain                  what was read, what is unknown
    build-image . --package web              a member of a uv workspace
    build-image . --vendor mylib=../mylib --deliver auto
    """
    from cli import build_workflow

    archive, form = _read_output(output, archive)
    form = old_format or form
    if list_recipes:
        for name, title in build_workflow.list_recipes():
            click.echo(f"{name:<12} {title}")
    elif project == "mirror":
        _refuse_options(options | {"archive": archive} | dump(delivery))
        build_workflow.run_mirror_build(target, base, read_ca_option(ca_bundle), form)
    else:
        options |= {"project": project, "base": base, "archive": archive, "delivery": delivery}
        build = build_workflow.BuildOptions(**options)
        build_workflow.run_application_build(build, target, form)


def _read_output(values: tuple[str, ...], archive: Path | None) -> tuple[Path | None, OutputFormat]:
    """Return the tar to write and the output format.

    --output was the option for the tar, and still is if its value is no format; both may be given.
    """
    form: OutputFormat = "table"
    for value in values:
        match value:
            case "table" | "json" | "yaml":
                form = value
            case _ if archive or not any(mark in value for mark in "./"):
                raise click.BadParameter(
                    f"{value!r} is not one of {', '.join(_FORMATS)}; --tar FILE writes the image",
                    param_hint="'-o' / '--output'",
                )
            case _:
                archive = Path(value)
    return archive, form


def _refuse_options(options: dict[str, Any]) -> None:
    """Raise UsageError for options of applications: `mirror up` names and delivers its image."""
    flags = {parameter.name: parameter for parameter in build_image.params}
    for name, value in options.items():
        if value and value != flags[name].default:
            option = flags[name].opts[-1]
            raise click.UsageError(f"build-image mirror takes no {option}: see mirror up")
