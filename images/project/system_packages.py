"""Find the Debian packages that the commands of a Dockerfile install."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from images.project.reading import Line, NotTaken, shorten
from images.project.shell import ShellCommand

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_BUILTINS = {
    *("set", "echo", "true", "false", ":", "printf", "date", "exit", "test", "[", ".", "source"),
    *("export", "unset", "rm", "touch", "ls", "cat", "which", "type", "sleep", "apt-mark"),
    *("apt-cache", "tr", "grep", "sed", "cut", "sort", "head", "tail", "xargs", "id", "uname"),
}
_POSTGRESQL = re.compile(r"(postgresql(?:-client)?)-\d+")
_WITH_VALUE = {"-t", "-o", "-c", "-a", "--target-release", "--option", "--config-file"}
_OUR_PYTHON = re.compile(
    r"python3?(\.\d+)?(-(pip|venv|minimal|distutils|setuptools|wheel))?|python-is-python3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWord:
    """A Debian package that a command installs, without a version or release."""

    name: str
    line: Line


def is_install_command(command: ShellCommand) -> bool:
    """Whether a command is apt-get, apt or aptitude with `install`."""
    return _program(command) in ("apt-get", "apt", "aptitude") and "install" in command.words


def is_housekeeping(command: ShellCommand) -> bool:
    """Whether a command only prepares or cleans the package manager or the shell."""
    program, words = _program(command), command.words
    if program in ("apt-get", "apt", "aptitude"):
        return "install" not in words
    return program in _BUILTINS


def read_install_command(command: ShellCommand, line: Line) -> Iterator[PackageWord | NotTaken]:
    """Yield what an installation names; what cannot be a package of Debian as not taken."""
    words = command.words[command.words.index("install") + 1 :]
    if command.is_filter or command.words[0] == "xargs":
        yield NotTaken(line=line, text=shorten(command.text), why="the names are in another file")
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in _WITH_VALUE
            continue
        base = re.split(r"[=/]", word)[0]
        if word.startswith((".", "/")) or word.endswith(".deb"):
            yield NotTaken(line=line, text=word, why="a package file, not one of the archive")
        elif not _NAME.fullmatch(base) or base.endswith("-"):
            yield NotTaken(line=line, text=word, why="not the name of a Debian package")
        elif _OUR_PYTHON.fullmatch(base):
            yield NotTaken(line=line, text=word, why="the base image has Python")
        else:
            name = _POSTGRESQL.sub(r"\1", base)  # each release of Debian has one version
            if "=" in word or name != base:
                why = f"{name} is installed in the version that the archive has"
                yield NotTaken(line=line, text=word, why=why)
            yield PackageWord(name=name, line=line)
    for word in command.unresolved:
        yield NotTaken(line=line, text=word, why="only a shell can tell what it stands for")


def _program(command: ShellCommand) -> str:
    return command.words[0].rpartition("/")[2] if command.words else ""
