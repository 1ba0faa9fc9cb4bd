"""Under which conditions a uv.lock installs each package.

uv.lock has no markers on packages, only on dependencies: a package applies if any path of
dependencies leads to it from a package of the project, along which all markers hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_MAX_PATHS = 16  # conditions of one package; with more, it counts as always installed

_Conditions = frozenset[frozenset[str]]  # any of these sets of markers; all markers of a set
_ALWAYS: _Conditions = frozenset({frozenset()})
_NEVER: _Conditions = frozenset()


def find_package_markers(packages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the marker (PEP 508) of each package of a uv.lock, empty if it always applies.

    The project's own packages count with all their extras and groups. A package that nothing
    depends on always applies.
    """
    by_name: dict[str, list[int]] = {}
    for number, package in enumerate(packages):
        by_name.setdefault(str(package["name"]), []).append(number)
    edges: dict[int, list[tuple[int, str]]] = {number: [] for number in range(len(packages))}
    targets = set()
    for number, package in enumerate(packages):
        for dependency in _iter_dependencies(package):
            for target in by_name.get(str(dependency["name"]), ()):
                if dependency.get("version", packages[target].get("version")) == packages[
                    target
                ].get("version"):
                    edges[number].append((target, str(dependency.get("marker", ""))))
                    targets.add(target)
    conditions = dict.fromkeys(range(len(packages)), _NEVER)
    pending = [number for number in range(len(packages)) if number not in targets]
    pending += [number for number in targets if _is_member(packages[number])]
    conditions |= dict.fromkeys(pending, _ALWAYS)
    while pending:
        number = pending.pop()
        for target, marker in edges[number]:
            added = {path | {marker} if marker else path for path in conditions[number]}
            merged = _simplify(conditions[target] | added)
            if merged != conditions[target]:
                conditions[target] = merged
                pending.append(target)
    return [_to_marker(conditions[number] or _ALWAYS) for number in range(len(packages))]


def _iter_dependencies(package: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from package.get("dependencies", ())
    for key in ("optional-dependencies", "dev-dependencies"):
        for group in package.get(key, {}).values():
            yield from group


def _is_member(package: Mapping[str, Any]) -> bool:
    return bool({"editable", "virtual", "directory"} & set(package.get("source", {})))


def _simplify(paths: Iterable[frozenset[str]]) -> _Conditions:
    """Drop paths that need more markers than another; give up if there are too many."""
    ordered = sorted(set(paths), key=len)
    kept: list[frozenset[str]] = []
    for path in ordered:
        if not any(other <= path for other in kept):
            kept.append(path)
    return frozenset(kept) if len(kept) <= _MAX_PATHS else _ALWAYS


def _to_marker(conditions: _Conditions) -> str:
    """Return the conditions as one marker."""
    if conditions == _ALWAYS:
        return ""
    paths = [
        " and ".join(f"({marker})" for marker in sorted(path))
        for path in sorted(conditions, key=sorted)
    ]
    return paths[0] if len(paths) == 1 else " or ".join(f"({path})" for path in paths)
