"""`mirror reserve`: make names private before anything is uploaded."""

from __future__ import annotations

import click

from cli.index_session import open_index
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.settings import normalize_project_name


@click.command()
@local_option
@cluster_options("1m")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_option
def reserve(
    local: bool, target: ClusterOptions, names: tuple[str, ...], output: OutputFormat
) -> None:
    """Make names private before anything is uploaded under them.

    The mirror then never serves a public package of that name. An upload makes its name private
    too, so you need this only for names without an upload.

    \b
    mirror reserve acme-billing acme-auth
    """
    projects = list(dict.fromkeys(normalize_project_name(name) for name in names))
    with open_index(local, target) as client:
        outcomes = [
            (project, "reserved" if client.reserve_name(project) else "present")
            for project in projects
        ]
    if output == "table":
        terminal.table(("name", ""), outcomes)
    else:
        terminal.document([{"name": name, "outcome": text} for name, text in outcomes], output)
