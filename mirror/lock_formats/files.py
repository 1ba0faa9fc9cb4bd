"""Read a lock of any tool by its file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirror.core.errors import InputError
from mirror.lock import LockFile, find_other_tool, read_lock
from mirror.lock_formats.pdm import parse_pdm_lock
from mirror.lock_formats.pipfile import parse_pipfile_lock
from mirror.lock_formats.poetry import parse_poetry_lock


def read_any_lock(source: str) -> LockFile:
    """Read a lock of uv, Poetry, PDM or Pipenv, a pylock.toml, requirements, or one requirement.

    Of Poetry, PDM and Pipenv, the packages of the default group are taken; of an older lock that
    names no groups and has no pyproject.toml beside it, all. Raises InputError.
    """
    path = Path(source)
    tool = find_other_tool(path)
    if not tool:
        return read_lock(source, follow_includes=True)
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
    try:
        if tool == "Pipenv":
            return parse_pipfile_lock(json.loads(text))
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as a lock: {source[:200]}",
            why=str(error),
            next_step=f"make it anew with {tool}",
        ) from error
    parse = parse_poetry_lock if tool == "Poetry" else parse_pdm_lock
    return parse(document, _read_pyproject(path.parent, document))


def _read_pyproject(folder: Path, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the project's own file; without one, a project that needs every locked package."""
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text())
    except (OSError, ValueError):
        packages = document.get("package")
        names = [
            str(package["name"])
            for package in (packages if isinstance(packages, list) else ())
            if isinstance(package, dict) and "name" in package
        ]
        return {"project": {"dependencies": names}}
