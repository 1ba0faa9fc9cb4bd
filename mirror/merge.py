"""Three-way merge of text by lines, and of object specs by keys. Pure.

Where both sides changed the same place there is a conflict, which has both texts; the merged
content then has ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from mirror.core.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """A place that both sides changed, and the text of each."""

    place: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    content: bytes | None
    conflicts: tuple[MergeConflict, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not self.conflicts


def merge(
    ancestor: bytes | None, ours: bytes | None, theirs: bytes | None, *, spec: bool = False
) -> MergeResult:
    """Apply the change ancestor→theirs to ``ours``.

    ``spec``: the content is JSON and is merged by its keys. None means that the target is absent,
    which counts as a value of its own.
    """
    if theirs in (ancestor, ours):
        return MergeResult(content=ours)
    if ours == ancestor:
        return MergeResult(content=theirs)
    if ancestor is None or ours is None or theirs is None:
        return MergeResult(content=ours, conflicts=(_build_whole_conflict(ours, theirs),))
    if spec:
        return _merge_specs(ancestor, ours, theirs)
    return _merge_lines(ancestor, ours, theirs)


def undo_change(
    base: bytes | None, written: bytes | None, content: bytes | None, *, spec: bool = False
) -> MergeResult:
    """Return ``content`` without the change base→written: the base plus what others changed."""
    merged = merge(written, base, content, spec=spec)
    if not merged.is_clean and not spec and _lacks_all_added_lines(base, written, content):
        # another program rewrote it, and nothing of our change is left: it is a new base
        return MergeResult(content=content)
    return merged


def count_significant_lines(text: bytes | None) -> Counter[bytes]:
    """Count the lines by their stripped text, without those that have only brackets."""
    lines = (line.strip() for line in (text or b"").splitlines())
    return Counter(line for line in lines if line.strip(b"{}[](),; "))


def _lacks_all_added_lines(
    base: bytes | None, written: bytes | None, content: bytes | None
) -> bool:
    """Whether the content has none of the lines that base→written added (at least two)."""
    added = count_significant_lines(written).keys() - count_significant_lines(base).keys()
    return len(added) > 1 and not added & count_significant_lines(content).keys()


def _build_whole_conflict(ours: bytes | None, theirs: bytes | None) -> MergeConflict:
    sides = ["(absent)" if s is None else s.decode(errors="replace") for s in (ours, theirs)]
    return MergeConflict(place="everything", ours=sides[0], theirs=sides[1])


# -- lines ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Hunk:
    """A replacement of lines ``begin`` to ``end`` (exclusive) of the ancestor by ``lines``."""

    begin: int
    end: int
    lines: tuple[bytes, ...]

    def touches(self, other: _Hunk) -> bool:
        """Whether the ranges overlap, or both insert at the same place; adjacent ranges do not."""
        if self.begin == self.end == other.begin == other.end:
            return True
        return self.begin < other.end and other.begin < self.end


def _diff(ancestor: Sequence[bytes], other: Sequence[bytes]) -> list[_Hunk]:
    codes = SequenceMatcher(None, ancestor, other, autojunk=False).get_opcodes()
    return [
        _Hunk(begin, end, tuple(other[low:high]))
        for tag, begin, end, low, high in codes
        if tag != "equal"
    ]


def _merge_lines(ancestor: bytes, ours: bytes, theirs: bytes) -> MergeResult:
    old = ancestor.splitlines(keepends=True)
    our_hunks = _diff(old, ours.splitlines(keepends=True))
    their_hunks = _diff(old, theirs.splitlines(keepends=True))
    chosen = [h for h in our_hunks if not any(h.touches(t) for t in their_hunks)]
    chosen += [t for t in their_hunks if not any(t.touches(h) for h in our_hunks)]
    conflicts = []
    for our_group, their_group in _group_touching(our_hunks, their_hunks):
        chosen += our_group
        if set(our_group) != set(their_group) and not _covers(our_group, their_group):
            conflicts.append(_build_conflict(old, our_group, their_group))
    return MergeResult(content=_apply(old, chosen), conflicts=tuple(conflicts))


def _group_touching(
    our_hunks: list[_Hunk], their_hunks: list[_Hunk]
) -> list[tuple[list[_Hunk], list[_Hunk]]]:
    """Group the hunks of both sides that touch, directly or through other hunks."""
    groups: list[tuple[list[_Hunk], list[_Hunk]]] = []
    remaining = [h for h in our_hunks if any(h.touches(t) for t in their_hunks)]
    while remaining:
        ours, theirs = [remaining.pop(0)], list[_Hunk]()
        grown = True
        while grown:
            new_theirs = [
                t for t in their_hunks if t not in theirs and any(t.touches(h) for h in ours)
            ]
            theirs += new_theirs
            new_ours = [h for h in remaining if any(h.touches(t) for t in theirs)]
            remaining = [h for h in remaining if h not in new_ours]
            ours += new_ours
            grown = bool(new_theirs or new_ours)
        groups.append((ours, theirs))
    return groups


def _covers(our_hunks: list[_Hunk], their_hunks: list[_Hunk]) -> bool:
    """Whether they only deleted lines, and we delete all of those too."""
    return all(
        not theirs.lines
        and any(
            not ours.lines and ours.begin <= theirs.begin and theirs.end <= ours.end
            for ours in our_hunks
        )
        for theirs in their_hunks
    )


def _build_conflict(
    old: list[bytes], our_hunks: list[_Hunk], their_hunks: list[_Hunk]
) -> MergeConflict:
    begin = min(h.begin for h in our_hunks + their_hunks)
    end = max(h.end for h in our_hunks + their_hunks)

    def render(hunks: list[_Hunk]) -> str:
        shifted = [_Hunk(h.begin - begin, h.end - begin, h.lines) for h in hunks]
        return _apply(old[begin:end], shifted).decode(errors="replace")

    return MergeConflict(
        place=f"line {begin + 1}", ours=render(our_hunks), theirs=render(their_hunks)
    )


def _apply(old: Sequence[bytes], hunks: list[_Hunk]) -> bytes:
    text, position = list[bytes](), 0
    # at the same line, an insertion comes before the replacement of a range
    for hunk in sorted(set(hunks), key=lambda h: (h.begin, h.end)):
        text += [*old[position : hunk.begin], *hunk.lines]
        position = hunk.end
    return b"".join([*text, *old[position:]])


# -- specs ----------------------------------------------------------------------------------------

_ABSENT: Any = object()


def encode_spec(value: Any) -> bytes:
    """Return a spec as JSON with sorted keys and one value per line, so that it diffs well."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_spec(content: bytes) -> Any:
    """Undo encode_spec. Raises RefusedError if a stored copy is not JSON."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise RefusedError("a stored spec cannot be read", why=str(error)) from error


def _merge_specs(ancestor: bytes, ours: bytes, theirs: bytes) -> MergeResult:
    conflicts: list[MergeConflict] = []
    sides = decode_spec(ancestor), decode_spec(ours), decode_spec(theirs)
    value = _merge_values(*sides, "spec", conflicts)
    return MergeResult(content=encode_spec(value), conflicts=tuple(conflicts))


def _merge_values(
    old: Any, ours: Any, theirs: Any, place: str, conflicts: list[MergeConflict]
) -> Any:
    if theirs in (old, ours):
        return ours
    if ours == old:
        return theirs
    sides = (old, ours, theirs)
    merged: Any = None
    if _are_all(dict, sides):
        maps = [{} if side is _ABSENT else side for side in sides]
        merged = _merge_maps(maps, place, conflicts)
    elif _are_all(list, sides):
        lists = [[] if side is _ABSENT else side for side in sides]
        named = [_index_by_name(side) for side in lists]
        if all(side is not None for side in named):
            merged = list(_merge_maps(named, place, conflicts).values())
        else:
            merged = _merge_items(lists, place, conflicts)
    else:
        conflicts.append(MergeConflict(place=place, ours=_render(ours), theirs=_render(theirs)))
        return ours
    return _ABSENT if merged in ({}, []) and _ABSENT in (ours, theirs) else merged


def _are_all(kind: type, sides: Sequence[Any]) -> bool:
    """Whether all sides are of a kind; an absent one counts as empty."""
    return all(side is _ABSENT or isinstance(side, kind) for side in sides)


def _merge_maps(sides: Sequence[Any], place: str, conflicts: list[MergeConflict]) -> dict[str, Any]:
    old, ours, theirs = sides
    merged = {}
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        values = (old.get(key, _ABSENT), ours.get(key, _ABSENT), theirs.get(key, _ABSENT))
        value = _merge_values(*values, f"{place}.{key}", conflicts)
        if value is not _ABSENT:
            merged[key] = value
    return merged


def _merge_items(
    lists: Sequence[list[Any]], place: str, conflicts: list[MergeConflict]
) -> list[Any]:
    """Merge items without names as if each were a line of text."""
    texts = [
        b"".join(json.dumps(item, sort_keys=True).encode() + b"\n" for item in items)
        for items in lists
    ]
    merged = _merge_lines(*texts)
    conflicts += [replace(conflict, place=place) for conflict in merged.conflicts]
    return [json.loads(line) for line in (merged.content or b"").splitlines()]


def _index_by_name(items: list[Any]) -> dict[str, Any] | None:
    """Return items with unique names (containers, env, volumes) by name; None for other lists."""
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        return None
    by_name = {item["name"]: item for item in items}
    return by_name if len(by_name) == len(items) else None


def _render(value: Any) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value, indent=1, sort_keys=True)
