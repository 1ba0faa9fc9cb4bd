"""The name that the program was called by: `mirror`, or `kubectl mirror` as a plugin of kubectl."""

from __future__ import annotations

import copy
import pkgutil
import re
from functools import cache
from pathlib import Path

import click

PLUGIN = "kubectl mirror"


def get_called_name(executable: str) -> str:
    """Return how users call this executable. kubectl runs `kubectl-mirror` for `kubectl mirror`."""
    return PLUGIN if Path(executable).stem == "kubectl-mirror" else "mirror"


def use_called_name(text: str, name: str) -> str:
    """Return the text with its `mirror COMMAND` as this program was called."""
    return _find_commands().sub(name, text) if name == PLUGIN else text


def name_examples(command: click.Command, name: str) -> click.Command:
    """Return the command; the examples in its help are as this program was called."""
    named = copy.copy(command)
    named.help = use_called_name(command.help or "", name)
    return named


@cache
def _find_commands() -> re.Pattern[str]:
    folder = str(Path(__file__).with_name("commands"))
    names = "|".join(module.name for module in pkgutil.iter_modules([folder]))
    return re.compile(rf"(?<![\w/.-])(?<!kubectl )mirror(?= (?:(?:{names})\b|--help))")
