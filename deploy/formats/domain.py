"""Domain names from the command line, checked before they go into a configuration."""

from __future__ import annotations

import re

from mirror.core.errors import InputError

_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*\Z"
)


def parse_domain(text: str) -> str:
    """Return the name in lower case without the trailing dot. Raises InputError."""
    name = text.lower().removesuffix(".")
    if not _NAME.match(name):
        raise InputError(
            f"not a domain name: {text[:80]!r}",
            why="labels of letters, digits, `-` and `_`, separated by dots",
            next_step="give a name such as home.example",
        )
    return name
