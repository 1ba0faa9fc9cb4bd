"""What has become of a target since it was written, and what it should be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mirror.merge import count_significant_lines, merge, undo_change

DriftState: TypeAlias = Literal["fine", "reverted", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """``content`` is what puts a reverted target right; ``why`` says what is unclear."""

    state: DriftState
    content: bytes = b""
    why: str = ""


FINE = DriftVerdict(state="fine")


def detect_drift(
    base: bytes | None, written: bytes | None, content: bytes | None, *, spec: bool
) -> DriftVerdict:
    """``base`` was there before the fix, ``written`` is what it left, ``content`` is there now.

    What somebody changed elsewhere since is kept. Where it touches what the fix changed, or where
    it would take making or deleting an object, nothing is decided here.
    """
    if content == written or (not spec and _all_there(base, written, content)):
        return FINE
    if written is None:
        return DriftVerdict(state="unclear", why="it is there again")
    if content is None and base is not None:
        return DriftVerdict(state="unclear", why="it is gone")
    left = undo_change(base, written, content, spec=spec)
    wanted = merge(base, written, left.content, spec=spec)
    if not left.is_clean or not wanted.is_clean:
        return DriftVerdict(state="unclear", why="it was edited where the fix had changed it")
    if wanted.content is None or wanted.content == content:
        return FINE
    return DriftVerdict(state="reverted", content=wanted.content)


def _all_there(base: bytes | None, written: bytes | None, content: bytes | None) -> bool:
    """Whether all lines that the fix added are there, wherever, and none that it took away."""
    old, new, now = (
        count_significant_lines(base),
        count_significant_lines(written),
        count_significant_lines(content),
    )
    added, gone = new - old, old - new
    return bool(added) and added <= now and all(now[line] <= new[line] for line in gone)
