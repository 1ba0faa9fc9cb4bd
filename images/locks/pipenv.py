"""Pipfile.lock."""

from __future__ import annotations

import json
from pathlib import Path

from images.locks import LockedProject, LockKind, find_named
from images.toml_file import file_error
from mirror.lock import LockFile
from mirror.lock_formats.pipfile import parse_pipfile_lock


def _read(project: LockedProject, path: Path) -> LockFile:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise file_error(path, f"not JSON: {error}"[:300]) from error
    return parse_pipfile_lock(document, groups=project.groups)


KIND = LockKind(tool="Pipenv", find=find_named("Pipfile.lock"), read=_read)
