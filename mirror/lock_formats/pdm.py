"""Read pdm.lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from packaging.utils import canonicalize_name

from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution
from mirror.lock_formats.graph import DependencyEdge, follow_edges
from mirror.lock_formats.selection import select_pins


def parse_pdm_lock(
    document: Mapping[str, Any],
    pyproject: Mapping[str, Any],
    *,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
) -> LockFile:
    """Return the packages of the default group and of the given extras and groups.

    Older locks do not say which packages are for which group: then the dependencies are followed
    from pyproject.toml. Raises InputError for a document that PDM does not write.
    """
    packages, metadata = document.get("package", []), document.get("metadata", {})
    if "lock_version" not in metadata:
        raise InputError(
            "pdm.lock is not a lock of PDM",
            why="it has no lock_version",
            next_step="make it anew in the project: pdm lock",
        )
    chosen = {"default", *map(canonicalize_name, extras), *map(canonicalize_name, groups)}
    pins: dict[tuple[str, str], PinnedDistribution] = {}
    try:
        has_groups = all("groups" in package for package in packages)
        markers = {} if has_groups else _follow(packages, pyproject, extras, groups)
        for package in packages:
            # PDM repeats a package for its extras: "uvicorn" and "uvicorn[standard]"
            pin = _read_pin(package, metadata.get("files", {}))
            if has_groups and chosen.intersection(map(canonicalize_name, package["groups"])):
                pins.setdefault((pin.name, pin.specifier), pin)
            elif pin.name in markers:
                pin = replace(pin, marker=markers[pin.name])
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


def _follow(
    packages: Iterable[Mapping[str, Any]],
    pyproject: Mapping[str, Any],
    extras: Collection[str],
    groups: Collection[str],
) -> dict[str, str]:
    """Return name and marker of each package that the project's dependencies lead to."""
    project, tool = pyproject.get("project", {}), pyproject.get("tool", {})
    optional = project.get("optional-dependencies", {})
    by_group = {
        **tool.get("pdm", {}).get("dev-dependencies", {}),
        **pyproject.get("dependency-groups", {}),
    }
    known_extras = {canonicalize_name(name) for name in extras}
    known_groups = {canonicalize_name(name) for name in groups}
    lines = [*project.get("dependencies", [])]
    for name, more in optional.items():
        lines += more if canonicalize_name(name) in known_extras else []
    for name, more in by_group.items():
        lines += more if canonicalize_name(name) in known_groups else []
    entries: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        entries.setdefault(canonicalize_name(package["name"]), []).append(package)

    def list_edges(name: str, wanted: Collection[str]) -> Iterator[DependencyEdge]:
        for package in entries.get(name, ()):
            own = {canonicalize_name(extra) for extra in package.get("extras", [])}
            if own <= {*wanted}:
                edges = map(DependencyEdge.parse, package.get("dependencies", []))
                yield from filter(None, edges)

    roots = (DependencyEdge.parse(line) for line in lines if isinstance(line, str))
    return follow_edges(filter(None, roots), list_edges)


def _read_pin(package: Mapping[str, Any], older: Mapping[str, Any]) -> PinnedDistribution:
    """Return a package; ``older`` are the files where older versions of PDM list them."""
    origin = str(package.get("url") or package.get("path") or "")
    if "git" in package:
        origin = f"git+{package['git']}@{package.get('revision') or package['ref']}"
        inner = package.get("subdirectory")
        origin += f"#subdirectory={inner}" if inner else ""
    files = package.get("files") or older.get(f"{package['name']} {package['version']}", [])
    digests = [str(file["hash"]).lower() for file in files if "hash" in file]
    return PinnedDistribution(
        name=canonicalize_name(package["name"]),
        specifier=f"=={package['version']}",
        marker=str(package.get("marker", "")),
        hashes=tuple(digests),
        origin=origin,
    )
