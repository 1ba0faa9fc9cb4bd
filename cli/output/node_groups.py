"""Group targets on nodes, so that identical targets are printed once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deploy.repair.model import TargetDiff

_ON_NODE = " on node "


def group_targets(targets: Iterable[str]) -> list[str]:
    """Return `file X on node a`, `file X on node b` as `file X on nodes a, b`; order is kept."""
    nodes_by_place: dict[str, list[str]] = {}
    for target in targets:
        place, _, node = target.partition(_ON_NODE)
        nodes_by_place.setdefault(place, []).extend([node] if node else [])
    return [_render_title(place, nodes) for place, nodes in nodes_by_place.items()]


def group_diffs(diffs: Sequence[TargetDiff]) -> list[TargetDiff]:
    """Group equal differences, whose ``target`` then names the nodes, and ``text`` has no header.

    Groups are ordered by where they first appear.
    """
    nodes_by_diff: dict[TargetDiff, list[str]] = {}
    for diff in diffs:
        place, _, node = diff.target.partition(_ON_NODE)
        group = replace(diff, target=place, text=_diff_body(diff.text))
        nodes_by_diff.setdefault(group, []).extend([node] if node else [])
    return [
        replace(group, target=_render_title(group.target, nodes))
        for group, nodes in nodes_by_diff.items()
    ]


def _render_title(place: str, nodes: Sequence[str]) -> str:
    if not nodes:
        return place
    return f"{place} on node{'s' if nodes[1:] else ''} {', '.join(nodes)}"


def _diff_body(text: str) -> str:
    """Return a unified diff without its two header lines; a single value as `old → new`."""
    lines = text.rstrip().splitlines()[2:]
    if len(lines) == 3 and lines[1][:1] == "-" and lines[2][:1] == "+":
        return f"{lines[1][1:]} → {lines[2][1:]}"
    return "\n".join(lines)
