"""Read pdm.lock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from packaging.utils import canonicalize_name

from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution
from mirror.lock_formats.selection import select_pins


def parse_pdm_lock(
    document: Mapping[str, Any], *, extras: Collection[str] = (), groups: Collection[str] = ()
) -> LockFile:
    """Return the packages of the default group and of the given extras and groups.

    Raises InputError for a lock whose packages do not name their groups.
    """
    packages = document.get("package", [])
    metadata = document.get("metadata", {})
    if "lock_version" not in metadata or not all("groups" in package for package in packages):
        raise InputError(
            "pdm.lock does not say which packages belong to which group",
            why="it was made by an older PDM, or with another strategy than inherit_metadata",
            next_step="make it anew in the project: pdm lock --update-reuse "
            "--strategy inherit_metadata",
        )
    chosen = {"default", *map(canonicalize_name, extras), *map(canonicalize_name, groups)}
    pins: dict[tuple[str, str], PinnedDistribution] = {}
    try:
        for package in packages:
            # PDM repeats a package for its extras: "uvicorn" and "uvicorn[standard]"
            pin = _read_pin(package)
            if chosen.intersection(map(canonicalize_name, package["groups"])):
                pins.setdefault((pin.name, pin.specifier), pin)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "pdm.lock has an unexpected structure",
            why=f"{type(error).__name__}: {error}"[:200],
            next_step="make it anew in the project: pdm lock",
        ) from error
    targets = metadata.get("targets", [{}])
    requires = str(targets[0].get("requires_python", "")) if targets else ""
    selected = select_pins(pins.values(), extras, chosen)
    return LockFile(pins=tuple(selected), requires_python=requires)


def _read_pin(package: Mapping[str, Any]) -> PinnedDistribution:
    origin = str(package.get("url") or package.get("path") or "")
    if "git" in package:
        origin = f"git+{package['git']}@{package.get('revision') or package['ref']}"
        inner = package.get("subdirectory")
        origin += f"#subdirectory={inner}" if inner else ""
    digests = [str(file["hash"]).lower() for file in package.get("files", []) if "hash" in file]
    return PinnedDistribution(
        name=canonicalize_name(package["name"]),
        specifier=f"=={package['version']}",
        marker=str(package.get("marker", "")),
        hashes=tuple(digests),
        origin=origin,
    )
