"""How findings say things of nodes and names, the same in every category. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MOST = 6


def join_names(names: Iterable[str], most: int = _MOST) -> str:
    """Names, each once, the rest counted."""
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - most} more" if every[most:] else ""
    return ", ".join(every[:most]) + more


def on_nodes(nodes: Iterable[str]) -> str:
    """Nodes as the end of a sentence."""
    return f"on {join_names(nodes)}"


def group_by_line(by_node: Mapping[str, str]) -> tuple[str, ...]:
    """Lines of nodes; nodes that say the same share one."""
    lines: dict[str, list[str]] = {}
    for node, line in by_node.items():
        lines.setdefault(line, []).append(node)
    return tuple(f"{line} ({on_nodes(nodes)})" for line, nodes in lines.items())
