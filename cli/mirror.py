"""The console script `mirror`."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from cli import errors
from cli.called_name import get_called_name, name_examples
from cli.program import HELP, TYPED
from mirror.core.errors import InputError
from mirror.version import VERSION

# section → command → first sentence of its help, so that the overview loads no command
_SECTIONS = {
    "Run the mirror": {
        "up": "Start the mirror, or change its settings.",
        "status": "Show whether the mirror is healthy, and what it stores.",
        "logs": "Print the logs of the mirror's programs.",
        "down": "Stop the mirror.",
        "uninstall": "Remove the mirror and everything that it changed.",
        "manifests": "Print the mirror's objects as YAML, for GitOps.",
    },
    "Use it": {
        "env": "Print or publish the environment that makes uv and pip use it.",
        "lock": "Move the URLs of a lock to the mirror and back.",
        "attach": "Let workloads use the mirror: its environment, by envFrom.",
        "detach": "Restore workloads as they were before `mirror attach`.",
    },
    "Fill it": {
        "warm": "Fetch everything that a lock needs into the mirror.",
        "add": "Upload wheels and sdists into the private index.",
        "reserve": "Make names private before anything is uploaded under them.",
        "explain": "Say where a project comes from, and what hides it.",
        "list": "List private and cached projects, or attached workloads.",
        "verify": "Compare every stored file with its hash.",
    },
    "Repair a cluster": {
        "doctor": "Find out why packages do not reach pods.",
        "fix": "Remove a cause that makes pods fail; `rollback` undoes it.",
        "rollback": "Undo fixes: restore what was there before them, byte for byte.",
    },
    "Shell": {
        "completion": "Print the script that completes commands, options and names.",
    },
}
_COMMANDS = [name for section in _SECTIONS.values() for name in section]


class _LazyGroup(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[TYPED] = (*(ctx.info_name or "").split(), *args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cli.commands.{cmd_name}")
        command = getattr(module, _get_attribute(cmd_name))
        assert isinstance(command, click.Command)
        return name_examples(command, ctx.find_root().info_name or "")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, _COMMANDS, n=1)
            raise InputError(
                f"no such command: {name!r}",
                why=f"did you mean {near[0]}?" if near else f"there are: {', '.join(_COMMANDS)}",
                next_step=f"mirror {near[0]} --help" if near else "mirror --help",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), sentence) for name, sentence in commands.items()]
                formatter.write_dl(rows)


def list_sections() -> dict[str, list[str]]:
    """Return the commands by section, in the order of the overview."""
    return {title: list(commands) for title, commands in _SECTIONS.items()}


def _get_attribute(name: str) -> str:
    """Return the name of the command's function: `list` would hide a built-in."""
    return {"list": "list_projects"}.get(name, name)


@click.group(cls=_LazyGroup, context_settings=HELP)
@click.version_option(VERSION)
def mirror() -> None:
    """A package index inside the cluster, for pods that cannot reach one outside.

    \b
    mirror up --local   an index on this machine, in seconds
    mirror up           an index inside the cluster of the current context
    mirror env          the environment that makes uv and pip use it
    mirror doctor       why packages do not reach pods, and the least invasive fix
    """


def main() -> NoReturn:
    """Entry point."""
    name = get_called_name(sys.argv[0])
    errors.run(name_examples(mirror, name), name)
