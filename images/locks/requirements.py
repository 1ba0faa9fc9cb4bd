"""Requirements with hashes, as pip-compile and `uv pip compile` write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from images.locks import LockedProject, LockKind
from mirror.core.errors import InputError
from mirror.lock import LockFile, read_lock

_NAMES = ("requirements.txt", "requirements.lock", "requirements-prod.txt", "requirements_prod.txt")
_FOLDERS = ("requirements", "requirement", "deps", "dependencies")
_PRODUCTION = ("prod.txt", "production.txt", "deploy.txt", "requirements.txt", "base.txt",
               "main.txt", "common.txt", "default.txt")  # fmt: skip
# options that change nothing about what an exact version with hashes installs
_HARMLESS = re.compile(
    r"--(require-hashes|prefer-binary|pre|no-cache-dir|trusted-host|only-binary|no-binary|"
    r"use-feature|no-emit-index-url)\b|-c\b|--constraint\b"
)
_INCLUDE = re.compile(
    r"(?:-r|--requirement|-c|--constraint)(?:\s+|=|(?<=-[rc]))(\S[^#]*?)\s*(?:#.*)?$"
)
_INDEX = re.compile(r"(-i|--index-url|--extra-index-url|-f|--find-links)[= ]\s*(\S+)")


def _find(project: LockedProject) -> Iterator[Path]:
    """Yield the files with the usual names."""
    for place in project.places:
        yield from _existing(place, _NAMES)
        for folder in _FOLDERS:
            yield from _existing(place / folder, _PRODUCTION)


def _existing(place: Path, names: tuple[str, ...]) -> Iterator[Path]:
    yield from (place / name for name in names if (place / name).is_file())


def _read(project: LockedProject, path: Path) -> LockFile:
    _check_includes(path, project.root.resolve(), frozenset())
    lock = read_lock(str(path), follow_includes=True)
    refused = [line for line in lock.skipped if not _HARMLESS.match(line)]
    for line in refused:
        if index := _INDEX.match(line):
            _refuse_index(path, line, index[1])
    return replace(lock, skipped=tuple(refused))


def _check_includes(path: Path, root: Path, seen: frozenset[Path]) -> None:
    """Raise InputError for an included file outside of the source."""
    text = path.read_bytes().replace(b"\0", b"").decode(errors="replace")  # UTF-16 has NULs
    for line in text.splitlines():
        include = _INCLUDE.match(line.strip())
        if include is None:
            continue
        included = (path.parent / include[1].strip("'\"")).resolve()
        if not included.is_relative_to(root) or not included.is_file():
            is_outside = not included.is_relative_to(root)
            raise InputError(
                f"a line of {path.name} cannot be used: {line.strip()[:80]!r}",
                why=f"{included} is " + ("outside of the project" if is_outside else "no file"),
                next_step="put the file into the project, or correct the line",
            )
        if included not in seen:
            _check_includes(included, root, seen | {included})


def _refuse_index(path: Path, line: str, option: str) -> None:
    is_second = option in ("--extra-index-url", "-f", "--find-links")
    raise InputError(
        f"a line of {path.name} cannot be used: {line[:80]!r}",
        why="packages come from the mirror"
        + (", which does not have those of a second index" if is_second else ""),
        next_step="give what is only there with --vendor NAME=URL, and remove the line"
        if is_second
        else "remove the line: pip-compile --no-emit-index-url, or uv pip compile, leaves it out",
    )


KIND = LockKind(tool="requirements", find=_find, read=_read)
