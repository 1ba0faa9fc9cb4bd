"""Read Pipfile.lock (Pipenv)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from packaging.utils import canonicalize_name

from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution


def parse_pipfile_lock(document: Mapping[str, Any], *, groups: Collection[str] = ()) -> LockFile:
    """Return the packages of the categories `default` and ``groups`` (`develop` and others).

    Raises InputError for a document that Pipenv does not write.
    """
    try:
        requires = document["_meta"].get("requires", {})
        pins = [
            _read_pin(name, entry)
            for category in ("default", *groups)
            for name, entry in document.get(category, {}).items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "Pipfile.lock has an unexpected structure",
            why=f"{type(error).__name__}: {error}"[:200],
            next_step="make it anew in the project: pipenv lock",
        ) from error
    version = str(requires.get("python_full_version") or requires.get("python_version") or "")
    specifier = f"=={version}.*" if version.count(".") == 1 else version and f"=={version}"
    return LockFile(pins=tuple(dict.fromkeys(pins)), requires_python=specifier)


def _read_pin(name: str, entry: Mapping[str, Any]) -> PinnedDistribution:
    origin = str(entry.get("file") or entry.get("path") or "")
    if "git" in entry:
        origin = f"git+{entry['git']}@{entry['ref']}"
        inner = entry.get("subdirectory")
        origin += f"#subdirectory={inner}" if inner else ""
    return PinnedDistribution(
        name=canonicalize_name(name),
        specifier=str(entry.get("version", "")).replace("*", ""),
        marker=str(entry.get("markers", "")),
        hashes=tuple(str(digest).lower() for digest in entry.get("hashes", [])),
        origin=origin,
    )
