"""Locks that are not uv's own: pylock.toml (PEP 751) and requirements.txt, as lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from images.application_recipe import read_toml
from mirror.core.errors import InputError

# what reading on raises where a value is of another type than the format says
MALFORMED_LOCK_ERRORS = (AttributeError, TypeError, KeyError, ValueError, OSError)


def read_pylock(path: Path) -> Iterator[str]:
    """A line for each package, in the lock's order. InputError for what is no pylock.toml."""
    try:
        for one in read_toml(path).get("packages", []):
            yield _line(one, path.parent)
    except MALFORMED_LOCK_ERRORS as broken:
        raise InputError(
            f"not a lock: {path}",
            why=f"{type(broken).__name__}: {broken}",
            next_step="make one: uv export --format pylock.toml --output-file pylock.toml",
        ) from broken


def _line(package: Mapping[str, Any], folder: Path) -> str:
    marker = package.get("marker", "")
    files = [*package.get("wheels", [])]
    if "directory" in package:
        requirement = f"./{package['directory'].get('path', '.')}"
    elif at := package.get("vcs") or package.get("archive"):
        url = at.get("url") or str((folder / at["path"]).resolve())
        if "commit-id" in at:
            url = f"{at.get('type', 'git')}+{url}@{at['commit-id']}"
        if "subdirectory" in at:
            url += f"#subdirectory={at['subdirectory']}"
        requirement = f"{package['name']} @ {url}"
        files.append(at)
    else:
        requirement = f"{package['name']}=={package.get('version', '')}"
        files += [package["sdist"]] if "sdist" in package else []
    sums = sorted(
        f"--hash=sha256:{file['hashes']['sha256']}"
        for file in files
        if "sha256" in file.get("hashes", {})
    )
    return " ".join([requirement + (f" ; {marker}" if marker else ""), *sums])


def logical_lines(text: str) -> list[str]:
    """Requirements without comments, continued lines joined."""
    joined = re.sub(r"\\\r?\n\s*", " ", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def check_extras(folder: Path, extras: Sequence[str]) -> None:
    """InputError for one that the project has not; the lock has to hold what they bring."""
    told = read_toml(folder / "pyproject.toml") if (folder / "pyproject.toml").is_file() else {}
    known = told.get("project", {}).get("optional-dependencies", {}) if extras else {}
    if unknown := {canonicalize_name(e) for e in extras} - set(map(canonicalize_name, known)):
        raise InputError(
            f"{folder} has no extra {', '.join(sorted(unknown))}",
            why="pyproject.toml has " + (", ".join(known) or "none"),
            next_step="name one of these with --extra, or none",
        )
