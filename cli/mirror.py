"""The console script `mirror`."""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

from cli import errors
from cli.options import HELP

# command → first sentence of its help, so that the overview loads no command
_COMMANDS = {
    "up": "Start the mirror, or change its settings.",
    "status": "Show whether the mirror is healthy, where it runs, and what it stores.",
    "down": "Stop the mirror.",
    "manifests": "Print the mirror's objects as YAML, for GitOps.",
    "env": "Print the environment that makes uv and pip use the mirror, or publish it.",
    "add": "Upload wheels and sdists into the private index.",
    "warm": "Fetch everything that a lock needs into the mirror.",
    "reserve": "Make names private before anything is uploaded under them.",
    "verify": "Compare every stored file with its hash.",
    "doctor": "Find out why packages do not reach pods.",
    "attach": "Let workloads use the mirror: its environment in every container, by envFrom.",
    "detach": "Restore workloads as they were before `mirror attach`.",
    "fix": "Remove a cause that makes pods fail, in a way that can be undone.",
    "rollback": "Undo fixes: restore what was there before them, byte for byte.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings=HELP)
@click.version_option(package_name="pypi-mirror")
def mirror() -> None:
    """A package index inside the cluster, for pods that cannot reach one outside.

    \b
    mirror up --local     an index on this machine, in seconds
    mirror up             an index inside the cluster of the current context
    mirror env            the environment that makes uv and pip use it
    mirror doctor         why packages do not reach pods, and the least invasive remedy
    """


def main() -> NoReturn:
    """Entry point."""
    errors.run(mirror, "mirror")
