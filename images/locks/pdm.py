"""pdm.lock."""

from __future__ import annotations

from pathlib import Path

from images.locks import LockedProject, LockKind, find_named
from images.toml_file import read_pyproject, read_toml
from mirror.lock import LockFile
from mirror.lock_formats.pdm import parse_pdm_lock


def _read(project: LockedProject, path: Path) -> LockFile:
    pyproject = read_pyproject(path.parent)
    return parse_pdm_lock(read_toml(path), pyproject, extras=project.extras, groups=project.groups)


KIND = LockKind(tool="PDM", find=find_named("pdm.lock"), read=_read)
