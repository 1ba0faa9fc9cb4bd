"""Compares a target with what a fix wrote, and computes what restores the fix. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mirror.merge import count_significant_lines, merge, undo_change

REVERTED, LOST = "FixReverted", "FixLost"  # reasons of Events: the fix was restored; it was not

DriftState: TypeAlias = Literal["fine", "reverted", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """``content`` restores a reverted target; ``why`` says why it is unclear how to."""

    state: DriftState
    content: bytes = b""
    why: str = ""


FINE = DriftVerdict(state="fine")


def detect_drift(
    base: bytes | None,
    written: bytes | None,
    content: bytes | None,
    *,
    spec: bool,
    owned: bool = False,
) -> DriftVerdict:
    """Compare ``content`` with what the fix found (``base``) and left there (``written``).

    Later edits of other parts are kept. The verdict is `unclear` where they touch what the fix
    changed, or where restoring it would create or delete an object. ``owned``: the whole target is
    the fix's own, so that every other content is overwritten.
    """
    if owned and written is not None:
        reverted = DriftVerdict(state="reverted", content=written)
        return FINE if content == written else reverted
    if content == written or (not spec and _has_all_changes(base, written, content)):
        return FINE
    if written is None:
        return DriftVerdict(state="unclear", why="it exists again")
    if content is None and base is not None:
        return DriftVerdict(state="unclear", why="it is gone")
    without_fix = undo_change(base, written, content, spec=spec)
    with_fix = merge(base, written, without_fix.content, spec=spec)
    if not without_fix.is_clean or not with_fix.is_clean:
        return DriftVerdict(state="unclear", why="it was edited where the fix had changed it")
    if with_fix.content is None or with_fix.content == content:
        return FINE
    return DriftVerdict(state="reverted", content=with_fix.content)


def describe_loss(why: str, fixes: Iterable[str]) -> str:
    """Return the message about a target that is not restored, with the commands that restore it."""
    commands = ", ".join(f"mirror fix {fix}" for fix in fixes)
    return f"{why}; not restored: run {commands}"


def _has_all_changes(base: bytes | None, written: bytes | None, content: bytes | None) -> bool:
    """Whether all lines that the fix added are present, anywhere, and none that it removed."""
    before, after = count_significant_lines(base), count_significant_lines(written)
    current = count_significant_lines(content)
    added, removed = after - before, before - after
    return (
        bool(added) and added <= current and all(current[line] <= after[line] for line in removed)
    )
