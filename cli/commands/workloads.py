"""`mirror env`: what makes a workload use the index."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import click

from cli.options import local_option
from mirror.core.wait import Deadline
from mirror.local import LocalMirror


@click.command()
@local_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["shell", "dotenv", "json"]),
    default="shell",
    show_default=True,
)
def env(local: bool, form: str) -> None:
    """Print the environment that makes uv and pip use the mirror.

    \b
    eval "$(mirror env --local)"          this shell
    mirror env --format dotenv > .env     a file for compose or systemd
    """
    endpoint = LocalMirror().running_endpoint(Deadline.after(10))
    click.echo(render(endpoint.environment(), form))


def render(environment: Mapping[str, str], form: str) -> str:
    """One environment in a form that a shell, a dotenv reader or a program takes."""
    if form == "json":
        return json.dumps(dict(environment), indent=2)
    prefix = "export " if form == "shell" else ""
    return "\n".join(f"{prefix}{key}={shlex.quote(value)}" for key, value in environment.items())
