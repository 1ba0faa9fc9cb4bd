"""Follow the dependencies in a lock from the project's own, if no line says what is for whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_MAX_ALTERNATIVES = 8  # markers of one package; with more of them, it counts as always installed


@dataclass(frozen=True, slots=True)
class DependencyEdge:
    """A dependency: on which package (canonical name), with which of its extras, under a marker."""

    name: str
    extras: frozenset[str]
    marker: str

    @classmethod
    def parse(cls, line: str) -> DependencyEdge | None:
        """Return the edge of a PEP 508 requirement, None for any other text."""
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            return None
        return cls(
            str(canonicalize_name(requirement.name)),
            frozenset(canonicalize_name(extra) for extra in requirement.extras),
            str(requirement.marker or ""),
        )


ListEdges = Callable[[str, Collection[str]], Iterable[DependencyEdge]]


def follow_edges(roots: Iterable[DependencyEdge], list_edges: ListEdges) -> dict[str, str]:
    """Return the packages that the roots lead to: name → marker, "" if it always applies.

    ``list_edges`` gives the dependencies of a package with some of its extras. A package applies
    if any path leads to it along which all markers hold.
    """
    found: dict[str, set[frozenset[str]]] = {}
    asked: dict[str, set[str]] = {}
    pending = [(edge, frozenset[str]()) for edge in roots]
    while pending:
        edge, path = pending.pop()
        path = path | {edge.marker} if edge.marker else path
        paths, wanted = found.setdefault(edge.name, set()), asked.setdefault(edge.name, set())
        if any(known <= path for known in paths) and edge.extras <= wanted:
            continue
        if len(paths) >= _MAX_ALTERNATIVES:
            path = frozenset()
        paths.add(path)
        wanted |= edge.extras
        pending += [(inner, path) for inner in list_edges(edge.name, wanted)]
    return {name: _join(paths) for name, paths in found.items()}


def _join(paths: Collection[frozenset[str]]) -> str:
    """Return alternatives, each of them several markers that all have to hold, as one marker."""
    if frozenset() in paths:
        return ""
    parts = [" and ".join(f"({marker})" for marker in sorted(path)) for path in paths]
    return parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in sorted(parts))
