"""pylock.toml (PEP 751), by uv, pip and PDM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from images.locks import LockedProject, LockKind
from images.toml_file import read_toml
from mirror.core.errors import InputError
from mirror.lock import LockFile, read_lock
from mirror.lock_formats.selection import select_pins


def _find(project: LockedProject) -> Iterator[Path]:
    for place in project.places:
        yield from (path for path in (place / "pylock.toml",) if path.is_file())
        yield from sorted(place.glob("pylock.*.toml"))


def _read(project: LockedProject, path: Path) -> LockFile:
    document = read_toml(path)
    lock = read_lock(str(path))
    known = {str(name) for name in document.get("dependency-groups", [])}
    if unknown := [group for group in project.groups if known and group not in known]:
        raise InputError(
            f"{path.name} has no group {', '.join(unknown)}",
            why="it has " + ", ".join(sorted(known)),
            next_step="give one of these with --group, or none",
        )
    groups = {*map(str, document.get("default-groups", [])), *project.groups}
    return replace(lock, pins=tuple(select_pins(lock.pins, project.extras, groups)))


KIND = LockKind(tool="pylock", find=_find, read=_read)
