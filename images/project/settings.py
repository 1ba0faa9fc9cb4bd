"""Read a project's example of its settings (.env.example and the like)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from images.project.reading import Line
from mirror.core.errors import ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

EXAMPLE_FILES = (
    *(".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", ".env.test"),
    *("example.env", "sample.env", "env.sample", ".env-example", ".env-sample"),
)
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
# what the image sets itself
OWN_VARIABLES = re.compile(
    r"(UV|PIP|POETRY|PDM|PIPENV|VIRTUALENV)_.*|PATH|VIRTUAL_ENV|HOME|HOSTNAME"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSetting:
    """A variable of an example file."""

    name: str
    value: str
    line: Line


def read_example_settings(folder: Path) -> Iterator[ExampleSetting]:
    """Yield the variables with a value of the first example file.

    A .env file that is in the git repository is an example, too: it holds nobody's secrets.
    """
    name = next((name for name in EXAMPLE_FILES if (folder / name).is_file()), None)
    if name is None and (folder / ".env").is_file() and _is_tracked(folder, ".env"):
        name = ".env"
    if name is None:
        return
    text = (folder / name).read_text(encoding="utf-8-sig", errors="replace")
    for number, content in enumerate(text.splitlines(), start=1):
        match = _ASSIGNMENT.fullmatch(content.strip())
        if match is None or OWN_VARIABLES.fullmatch(match[1]):
            continue
        value = _unquote(match[2])
        if value and value.isprintable() and "${" not in value:
            yield ExampleSetting(name=match[1], value=value, line=Line(file=name, number=number))


def _is_tracked(folder: Path, name: str) -> bool:
    """Whether git has a file."""
    try:
        argv = ("git", "-C", folder, "ls-files", "--error-unmatch", "--", name)
        return run(argv, deadline=Deadline.after(10), check=False).ok
    except ProgramError:
        return False


def _unquote(text: str) -> str:
    quoted = re.match(r"(['\"])(.*?)\1", text)
    return quoted[2] if quoted else re.sub(r"(^|\s+)#.*", "", text).strip()


def find_hosts(values: Iterator[str]) -> Iterator[str]:
    """Yield the hosts without a dot in URLs: names of services beside the application."""
    for value in values:
        for host in re.findall(r"\w+://(?:[^/@\s]*@)?([A-Za-z][A-Za-z0-9_-]*)(?=[:/?]|$)", value):
            if host != "localhost":
                yield host
