"""Read poetry.lock. Newer ones say for which groups and environments a package is; for older ones
the dependencies are followed from pyproject.toml."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from packaging.utils import canonicalize_name

from mirror.core.errors import InputError
from mirror.lock import LockFile, PinnedDistribution
from mirror.lock_formats.graph import DependencyEdge, follow_edges
from mirror.lock_formats.selection import select_marker, select_pins

_HASHES = ("sha256:", "sha384:", "sha512:")


def parse_poetry_lock(
    document: Mapping[str, Any],
    pyproject: Mapping[str, Any],
    *,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
) -> LockFile:
    """Return the packages that the project needs with the given extras and groups.

    Raises InputError for a document that Poetry does not write.
    """
    packages = document.get("package")
    if not isinstance(packages, list) or not isinstance(document.get("metadata"), dict):
        raise InputError(
            "poetry.lock is not a lock of Poetry",
            why="it has no [[package]] and [metadata]",
            next_step="make it anew in the project: poetry lock",
        )
    try:
        if packages and all("groups" in package for package in packages):
            markers = dict(_read_markers(packages, {"main", *groups}))
        else:
            markers = _follow(packages, pyproject, extras, groups)
        older = document["metadata"].get("files", {})  # where Poetry 1.2 and earlier list them
        pins = [_read_pin(p, markers[_key(p)], older) for p in packages if _key(p) in markers]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            "poetry.lock has an unexpected structure",
            why=f"{type(error).__name__}: {error}"[:200],
            next_step="make it anew in the project: poetry lock",
        ) from error
    requires = str(document["metadata"].get("python-versions", ""))
    selected = select_pins(pins, extras, {"main", *groups})
    return LockFile(pins=tuple(selected), requires_python=requires)


def _key(package: Mapping[str, Any]) -> tuple[str, str]:
    return str(canonicalize_name(package["name"])), str(package["version"])


def _read_markers(
    packages: list[Mapping[str, Any]], groups: Collection[str]
) -> Iterator[tuple[tuple[str, str], str]]:
    for package in packages:
        chosen = [group for group in package["groups"] if group in groups]
        if not chosen:
            continue
        by_group = package.get("markers", "")
        if isinstance(by_group, str):
            yield _key(package), by_group
            continue
        parts = [str(by_group.get(group, "")) for group in chosen]
        joined = parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in parts)
        yield _key(package), "" if "" in parts else joined


def _follow(
    packages: list[Mapping[str, Any]],
    pyproject: Mapping[str, Any],
    extras: Collection[str],
    groups: Collection[str],
) -> dict[tuple[str, str], str]:
    """Return a marker for each package that can be reached from the project's dependencies."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(_key(package)[0], []).append(package)

    def list_edges(name: str, wanted: Collection[str]) -> Iterator[DependencyEdge]:
        for package in by_name.get(name, ()):
            yield from _list_edges(package.get("dependencies", {}), wanted)

    markers = follow_edges(_list_roots(pyproject, extras, groups), list_edges)
    return {
        _key(package): markers[name]
        for name, several in by_name.items()
        if name in markers
        for package in several
    }


def _list_roots(
    pyproject: Mapping[str, Any], extras: Collection[str], groups: Collection[str]
) -> Iterator[DependencyEdge]:
    project, poetry = pyproject.get("project", {}), pyproject.get("tool", {}).get("poetry", {})
    known = {canonicalize_name(extra) for extra in extras}
    lines = [*project.get("dependencies", [])]
    for name, more in project.get("optional-dependencies", {}).items():
        lines += more if canonicalize_name(name) in known else []
    for group in groups:
        table = pyproject.get("dependency-groups", {}).get(group, [])
        lines += [line for line in table if isinstance(line, str)]
    yield from filter(None, (DependencyEdge.parse(str(line)) for line in lines))
    optional = {
        canonicalize_name(str(name).split("[")[0].split(" ")[0])
        for extra, names in poetry.get("extras", {}).items()
        if canonicalize_name(extra) in known
        for name in names
    }
    for name, value in poetry.get("dependencies", {}).items():
        is_optional = isinstance(value, dict) and value.get("optional", False)
        if name != "python" and (not is_optional or canonicalize_name(name) in optional):
            yield from _list_edges({name: value}, set())
    for group in groups:
        inner = poetry.get("group", {}).get(group, {}).get("dependencies", {})
        yield from _list_edges(inner, set())


def _list_edges(
    dependencies: Mapping[str, Any], extras: Collection[str]
) -> Iterator[DependencyEdge]:
    """Yield the dependencies in a table of Poetry that apply with the extras of their package."""
    for name, value in dependencies.items():
        for entry in value if isinstance(value, list) else [value]:
            table = entry if isinstance(entry, dict) else {}
            marker = select_marker(str(table.get("markers", "")), extras, ())
            if marker is not None:
                inner = frozenset(canonicalize_name(extra) for extra in table.get("extras", []))
                yield DependencyEdge(str(canonicalize_name(name)), inner, marker)


def _read_pin(
    package: Mapping[str, Any], marker: str, older: Mapping[str, Any]
) -> PinnedDistribution:
    files = package.get("files") or older.get(package["name"], [])
    digests = [str(file["hash"]).lower() for file in files]
    origin = _read_origin(package.get("source", {}))
    return PinnedDistribution(
        name=canonicalize_name(package["name"]),
        specifier=f"=={package['version']}",
        marker=marker,
        # the files of a Git repository or a folder have no hash of their own
        hashes=tuple(digest for digest in digests if digest.startswith(_HASHES)),
        origin=origin,
        registry=str(package.get("source", {}).get("url", "")) if not origin else "",
    )


def _read_origin(source: Mapping[str, Any]) -> str:
    """Return the direct reference of a source table; "" for an index."""
    match source.get("type", "legacy"):
        case "git":
            origin = f"git+{source['url']}@{source['resolved_reference']}"
            inner = source.get("subdirectory")
            return origin + (f"#subdirectory={inner}" if inner else "")
        case "url" | "file" | "directory":
            return str(source["url"])
    return ""
