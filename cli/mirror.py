"""The console script `mirror`."""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

from cli import edge
from cli.options import HELP

# command → module of cli/commands that defines it; loaded only when it is asked for
_COMMANDS = {
    "up": "lifecycle",
    "status": "status",
    "down": "lifecycle",
    "manifests": "lifecycle",
    "env": "workloads",
    "add": "packages",
    "warm": "warm",
    "reserve": "packages",
    "verify": "kept",
    "doctor": "doctor",
    "attach": "attach",
    "detach": "attach",
    "fix": "fixes",
    "rollback": "fixes",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{_COMMANDS[cmd_name]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Lazy, context_settings=HELP)
@click.version_option(package_name="pypi-mirror")
def mirror() -> None:
    """A package index for pods that cannot reach one: over IPv4, inside the cluster.

    \b
    mirror up --local     an index on this machine, in seconds
    mirror up             an index inside the cluster of the current context
    mirror env            what makes uv and pip use it
    mirror doctor         why packages do not arrive in pods, and the smallest mend
    """


def main() -> NoReturn:
    """Entry point."""
    edge.run(mirror, "mirror")
