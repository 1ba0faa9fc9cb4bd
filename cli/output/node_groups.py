"""Things of nodes for people: what is the same on several nodes is said once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.repair.plan import TargetDiff

_ON = " on node "


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One or several targets with the same difference; ``lines`` without its header."""

    title: str
    why: tuple[str, ...]
    lines: tuple[str, ...]
    kept: bool
    drops: tuple[str, ...]


def places(targets: Iterable[str]) -> list[str]:
    """`file X on node a`, `file X on node b` → `file X on nodes a, b`; order by the first."""
    found: dict[str, list[str]] = {}
    for target in targets:
        place, _, node = target.partition(_ON)
        found.setdefault(place, []).extend([node] if node else [])
    return [_title(place, nodes) for place, nodes in found.items()]


def groups(diffs: Sequence[TargetDiff]) -> list[Group]:
    """The differences, alike ones together, in the order of the first of them."""
    found: dict[tuple[object, ...], list[str]] = {}
    for one in diffs:
        place, _, node = one.target.partition(_ON)
        key = (place, one.why, _body(one.text), one.kept, one.drops)
        found.setdefault(key, []).extend([node] if node else [])
    return [
        Group(title=_title(str(key[0]), nodes), why=key[1], lines=key[2], kept=key[3], drops=key[4])  # type: ignore[arg-type]
        for key, nodes in found.items()
    ]


def _title(place: str, nodes: Sequence[str]) -> str:
    if not nodes:
        return place
    return f"{place} on node{'s' if nodes[1:] else ''} {', '.join(nodes)}"


def _body(text: str) -> tuple[str, ...]:
    """A unified diff without the two lines that name its sides; of one value `old → new`."""
    lines = tuple(text.rstrip().splitlines()[2:])
    if len(lines) == 3 and lines[1][:1] == "-" and lines[2][:1] == "+":
        return (f"{lines[1][1:]} → {lines[2][1:]}",)
    return lines
