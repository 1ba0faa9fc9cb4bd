"""poetry.lock."""

from __future__ import annotations

from pathlib import Path

from images.locks import LockedProject, LockKind, find_named
from images.toml_file import read_pyproject, read_toml
from mirror.lock import LockFile
from mirror.lock_formats.poetry import parse_poetry_lock


def _read(project: LockedProject, path: Path) -> LockFile:
    pyproject = read_pyproject(path.parent)
    return parse_poetry_lock(
        read_toml(path), pyproject, extras=project.extras, groups=project.groups
    )


KIND = LockKind(tool="Poetry", find=find_named("poetry.lock"), read=_read)
