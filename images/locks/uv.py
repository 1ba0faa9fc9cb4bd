"""uv.lock: `uv export` selects from it; what the export does not say comes from the file itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from images.locks import LockedProject, LockKind, find_named
from images.locks.drift import find_drift
from images.locks.second_index import take_from_indexes
from images.toml_file import read_pyproject, read_toml
from images.uv import export_lock, name_uv
from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution, parse_requirements


def _read(project: LockedProject, path: Path) -> LockFile:
    document = read_toml(path)
    _check_up_to_date(project, path, document)
    name = read_pyproject(project.folder).get("project", {}).get("name")
    member = str(name) if name and project.folder != path.parent else ""
    text = export_lock(path.parent, project.extras, project.groups, project.deadline, member=member)
    lock = parse_requirements(text, path.name)
    versions = dict(_list_versions(document))
    pins = tuple(_add_version(pin, versions) for pin in lock.pins)
    lock = replace(lock, pins=pins, requires_python=str(document.get("requires-python", "")))
    return take_from_indexes(lock, document, project, path)


def _check_up_to_date(project: LockedProject, path: Path, lock: Mapping[str, Any]) -> None:
    """Raise InputError if uv.lock was made for another pyproject.toml."""
    folder = project.folder
    try:
        drift = list(find_drift(read_pyproject(folder), lock))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"uv.lock or pyproject.toml of {folder} has an unexpected structure",
            why=f"{type(error).__name__}: {error}",
            next_step="check that `uv lock` works there",
        ) from error
    if drift:
        raise InputError(
            f"uv.lock of {path.parent} is out of date",
            why="; ".join(drift[:5]) + " — the lock was made for another pyproject.toml",
            next_step=f"lock it again there: {name_uv()} lock --directory {path.parent}",
        )


def _list_versions(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and version of the packages that no index has."""
    for package in document.get("package", []):
        if "registry" not in package.get("source", {}) and "version" in package:
            yield str(canonicalize_name(package["name"])), str(package["version"])


def _add_version(pin: PinnedDistribution, versions: Mapping[str, str]) -> PinnedDistribution:
    """Add the locked version of a direct reference, which an export leaves out."""
    if not pin.origin or pin.source == "path" or pin.name not in versions:
        return pin
    return replace(pin, specifier=f"=={versions[pin.name]}")


KIND = LockKind(tool="uv", find=find_named("uv.lock"), read=_read)
