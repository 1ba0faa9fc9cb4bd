"""Three-way merge: what somebody changed since we wrote, carried over to what we would write.

Of text by lines, of an object's spec by its keys. Where both sides changed the same place it is a
conflict; it is then told with both texts, and ``content`` takes our side there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from mirror.core.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConflict:
    """A place both sides changed: how it reads for us, and how somebody made it."""

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
    """Apply what changed from ``ancestor`` to ``theirs`` to ``ours``; ``spec``: JSON by its keys.

    Absent (None) is a content of its own.
    """
    if theirs in (ancestor, ours):
        return MergeResult(content=ours)
    if ours == ancestor:
        return MergeResult(content=theirs)
    if ancestor is None or ours is None or theirs is None:
        return MergeResult(content=ours, conflicts=(_whole(ours, theirs),))
    if spec:
        return _merge_specs(ancestor, ours, theirs)
    return _merge_lines(ancestor, ours, theirs)


def undo_change(
    base: bytes | None, written: bytes | None, content: bytes | None, *, spec: bool = False
) -> MergeResult:
    """What would be there without us: the base, with what somebody changed since we wrote."""
    merged = merge(written, base, content, spec=spec)
    if not merged.is_clean and not spec and _nothing_left(base, written, content):
        # something else wrote it anew: there is nothing of ours in it, so it is a base of its own
        return MergeResult(content=content)
    return merged


def count_significant_lines(text: bytes | None) -> Counter[bytes]:
    """Lines that say something, and how often: not braces alone."""
    lines = (line.strip() for line in (text or b"").splitlines())
    return Counter(line for line in lines if line.strip(b"{}[](),; "))


def _nothing_left(base: bytes | None, written: bytes | None, content: bytes | None) -> bool:
    """Whether none of the lines that we added to a text is in the content."""
    added = count_significant_lines(written).keys() - count_significant_lines(base).keys()
    return len(added) > 1 and not added & count_significant_lines(content).keys()


def _whole(ours: bytes | None, theirs: bytes | None) -> MergeConflict:
    def said(content: bytes | None) -> str:
        return "(absent)" if content is None else content.decode(errors="replace")

    return MergeConflict(place="the whole", ours=said(ours), theirs=said(theirs))


# -- lines ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines ``begin`` to ``end`` of the ancestor became ``lines``."""

    begin: int
    end: int
    lines: tuple[bytes, ...]

    def touches(self, other: _Hunk) -> bool:
        """Ranges overlap, or both insert at one point; to stand side by side is no touch."""
        if self.begin == self.end == other.begin == other.end:
            return True
        return self.begin < other.end and other.begin < self.end


def _hunks(ancestor: Sequence[bytes], other: Sequence[bytes]) -> list[_Hunk]:
    codes = SequenceMatcher(None, ancestor, other, autojunk=False).get_opcodes()
    return [
        _Hunk(begin, end, tuple(other[low:high]))
        for tag, begin, end, low, high in codes
        if tag != "equal"
    ]


def _merge_lines(ancestor: bytes, ours: bytes, theirs: bytes) -> MergeResult:
    old = ancestor.splitlines(keepends=True)
    mine = _hunks(old, ours.splitlines(keepends=True))
    other = _hunks(old, theirs.splitlines(keepends=True))
    chosen, conflicts = [h for h in mine if not any(h.touches(o) for o in other)], []
    chosen += [h for h in other if not any(h.touches(o) for o in mine)]
    for group_mine, group_other in _groups(mine, other):
        chosen += group_mine
        if set(group_mine) != set(group_other) and not _covered(group_mine, group_other):
            conflicts.append(_conflict(old, group_mine, group_other))
    return MergeResult(content=_patched(old, chosen), conflicts=tuple(conflicts))


def _groups(mine: list[_Hunk], other: list[_Hunk]) -> list[tuple[list[_Hunk], list[_Hunk]]]:
    """Hunks of both sides that touch, directly or through another, together."""
    groups: list[tuple[list[_Hunk], list[_Hunk]]] = []
    left = [h for h in mine if any(h.touches(o) for o in other)]
    while left:
        ours, theirs = [left.pop(0)], list[_Hunk]()
        grown = True
        while grown:
            more = [o for o in other if o not in theirs and any(o.touches(h) for h in ours)]
            theirs += more
            again = [h for h in left if any(h.touches(o) for o in theirs)]
            left = [h for h in left if h not in again]
            ours += again
            grown = bool(more or again)
        groups.append((ours, theirs))
    return groups


def _covered(mine: list[_Hunk], other: list[_Hunk]) -> bool:
    """Whether they only took away (a part of) what we take away too."""
    return all(
        not theirs.lines
        and any(
            not ours.lines and ours.begin <= theirs.begin and theirs.end <= ours.end
            for ours in mine
        )
        for theirs in other
    )


def _conflict(old: list[bytes], mine: list[_Hunk], other: list[_Hunk]) -> MergeConflict:
    begin = min(h.begin for h in mine + other)
    end = max(h.end for h in mine + other)

    def region(hunks: list[_Hunk]) -> str:
        moved = [_Hunk(h.begin - begin, h.end - begin, h.lines) for h in hunks]
        return _patched(old[begin:end], moved).decode(errors="replace")

    return MergeConflict(place=f"line {begin + 1}", ours=region(mine), theirs=region(other))


def _patched(old: Sequence[bytes], hunks: list[_Hunk]) -> bytes:
    text, at = list[bytes](), 0
    # at one place: what is inserted before a hunk's range comes before it
    for hunk in sorted(set(hunks), key=lambda h: (h.begin, h.end)):
        text += [*old[at : hunk.begin], *hunk.lines]
        at = hunk.end
    return b"".join([*text, *old[at:]])


# -- specs ----------------------------------------------------------------------------------------

_GONE: Any = object()


def encode_spec(value: Any) -> bytes:
    """A spec as bytes: JSON with sorted keys, a line a value, so that differences read well."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def decode_spec(content: bytes) -> Any:
    """And back. Raises RefusedError where a stored copy is no JSON."""
    try:
        return json.loads(content)
    except ValueError as broken:
        raise RefusedError("a stored spec cannot be read", why=str(broken)) from broken


def _merge_specs(ancestor: bytes, ours: bytes, theirs: bytes) -> MergeResult:
    conflicts: list[MergeConflict] = []
    value = _merge_values(
        decode_spec(ancestor), decode_spec(ours), decode_spec(theirs), "spec", conflicts
    )
    return MergeResult(content=encode_spec(value), conflicts=tuple(conflicts))


def _merge_values(old: Any, ours: Any, theirs: Any, place: str, told: list[MergeConflict]) -> Any:
    if theirs in (old, ours):
        return ours
    if ours == old:
        return theirs
    sides = (old, ours, theirs)
    merged: Any = None
    if _all(dict, sides):
        merged = _merge_maps([{} if one is _GONE else one for one in sides], place, told)
    elif _all(list, sides):
        lists = [[] if one is _GONE else one for one in sides]
        named = [_by_name(one) for one in lists]
        if all(one is not None for one in named):
            merged = list(_merge_maps(named, place, told).values())
        else:
            merged = _merge_items(lists, place, told)
    else:
        told.append(MergeConflict(place=place, ours=_said(ours), theirs=_said(theirs)))
        return ours
    return _GONE if merged in ({}, []) and _GONE in (ours, theirs) else merged


def _all(kind: type, sides: Sequence[Any]) -> bool:
    """Whether all that is there is of this kind: what is absent counts as empty."""
    return all(one is _GONE or isinstance(one, kind) for one in sides)


def _merge_maps(sides: Sequence[Any], place: str, told: list[MergeConflict]) -> dict[str, Any]:
    old, ours, theirs = sides
    merged = {}
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        values = (old.get(key, _GONE), ours.get(key, _GONE), theirs.get(key, _GONE))
        value = _merge_values(*values, f"{place}.{key}", told)
        if value is not _GONE:
            merged[key] = value
    return merged


def _merge_items(lists: Sequence[list[Any]], place: str, told: list[MergeConflict]) -> list[Any]:
    """Items as lines of JSON."""
    texts = [b"".join(json.dumps(one, sort_keys=True).encode() + b"\n" for one in x) for x in lists]
    merged = _merge_lines(*texts)
    told += [
        MergeConflict(place=place, ours=one.ours, theirs=one.theirs) for one in merged.conflicts
    ]
    return [json.loads(line) for line in (merged.content or b"").splitlines()]


def _by_name(value: Any) -> dict[str, Any] | None:
    """A list of objects with names, each once (containers, env, volumes), by them."""
    if not isinstance(value, list):
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in value):
        return None
    named = {one["name"]: one for one in value}
    return named if len(named) == len(value) else None


def _said(value: Any) -> str:
    return "(absent)" if value is _GONE else json.dumps(value, indent=1, sort_keys=True)
