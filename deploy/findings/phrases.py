"""Wording that the checks share: lists of names and of nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MAX_NAMES = 6


def join_names(names: Iterable[str], max_names: int = _MAX_NAMES) -> str:
    """Return the names without duplicates, e.g. "a, b and 3 more"."""
    unique = list(dict.fromkeys(names))
    rest = f" and {len(unique) - max_names} more" if unique[max_names:] else ""
    return ", ".join(unique[:max_names]) + rest


def on_nodes(nodes: Iterable[str]) -> str:
    """Return "on a, b", to end a sentence with."""
    return f"on {join_names(nodes)}"


def group_by_line(lines_by_node: Mapping[str, str]) -> tuple[str, ...]:
    """Return "LINE (on a, b)" for each line; nodes with the same line share it."""
    nodes_by_line: dict[str, list[str]] = {}
    for node, line in lines_by_node.items():
        nodes_by_line.setdefault(line, []).append(node)
    return tuple(f"{line} ({on_nodes(nodes)})" for line, nodes in nodes_by_line.items())
