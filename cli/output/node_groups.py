"""Group targets on nodes, so that identical targets are printed once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deploy.repair.model import TargetDiff

_ON_NODE = " on node "


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffGroup:
    """One or several targets with the same difference; ``lines`` are without its header."""

    title: str
    why: tuple[str, ...]
    lines: tuple[str, ...]
    kept: bool
    drops: tuple[str, ...]


def group_targets(targets: Iterable[str]) -> list[str]:
    """Return `file X on node a`, `file X on node b` as `file X on nodes a, b`; order is kept."""
    nodes_by_place: dict[str, list[str]] = {}
    for target in targets:
        place, _, node = target.partition(_ON_NODE)
        nodes_by_place.setdefault(place, []).extend([node] if node else [])
    return [_render_title(place, nodes) for place, nodes in nodes_by_place.items()]


def group_diffs(diffs: Sequence[TargetDiff]) -> list[DiffGroup]:
    """Group equal differences. Groups are ordered by where they first appear."""
    nodes_by_key: dict[tuple[str, DiffGroup], list[str]] = {}
    for diff in diffs:
        place, _, node = diff.target.partition(_ON_NODE)
        group = DiffGroup(
            title=place,
            why=tuple(diff.why),
            lines=_diff_body(diff.text),
            kept=diff.keeps_foreign_edits,
            drops=tuple(diff.drops),
        )
        nodes_by_key.setdefault((place, group), []).extend([node] if node else [])
    return [
        replace(group, title=_render_title(place, nodes))
        for (place, group), nodes in nodes_by_key.items()
    ]


def _render_title(place: str, nodes: Sequence[str]) -> str:
    if not nodes:
        return place
    return f"{place} on node{'s' if nodes[1:] else ''} {', '.join(nodes)}"


def _diff_body(text: str) -> tuple[str, ...]:
    """Return a unified diff without its two header lines; a single value as `old → new`."""
    lines = tuple(text.rstrip().splitlines()[2:])
    if len(lines) == 3 and lines[1][:1] == "-" and lines[2][:1] == "+":
        return (f"{lines[1][1:]} → {lines[2][1:]}",)
    return lines
