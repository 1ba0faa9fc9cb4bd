"""The console script `mirror`."""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

from cli import errors
from cli.options import HELP

# command → module of cli/commands that defines it, loaded only when it is asked for, and the first
# sentence of its help: the overview is shown without loading any
_COMMANDS = {
    "up": ("up", "Start the mirror, or bring it to these settings."),
    "status": ("status", "Show whether the mirror is well, where it is, and what it keeps."),
    "down": ("up", "Stop the mirror; packages and its address stay unless --purge."),
    "manifests": ("up", "Print the mirror's objects as YAML, for GitOps."),
    "env": ("env", "Print what makes uv and pip use the mirror, or publish it."),
    "add": ("add", "Upload wheels and sdists into the private index."),
    "warm": ("warm", "Bring everything that a lock needs into the mirror."),
    "reserve": ("add", "Make names private before anything is uploaded under them."),
    "verify": ("verify", "Hash every kept file and compare."),
    "doctor": ("doctor", "Find out why packages do not arrive in pods."),
    "attach": (
        "attach",
        "Let workloads use the mirror: its environment in every container, by envFrom.",
    ),
    "detach": ("attach", "Put workloads back as they were before `mirror attach`."),
    "fix": ("fix", "End a cause that makes pods fail, in a way that can be undone."),
    "rollback": ("fix", "Undo fixes: put back what was there before them, byte for byte."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{_COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in _COMMANDS.items()])


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
    errors.run(mirror, "mirror")
