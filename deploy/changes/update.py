"""A step: one target from what stands there to what should, compared with what we left there."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff

from deploy.changes.ledger import StoredEntry
from deploy.changes.model import AppliedEdit, LedgerEntry, ObjectSpec, Target
from mirror.core.errors import RefusedError
from mirror.merge import MergeConflict, MergeResult, merge, undo_change
from mirror.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUpdate:
    """What is to become of one target. ``after`` is its content, ``edits`` those in its entry.

    ``kept`` tells that somebody's later edits are in ``after``; ``conflicts`` where they touch
    ours, so that ``after`` drops them. ``changes`` are those that asked for it.
    """

    target: Target
    snapshot: Snapshot
    stored: StoredEntry | None
    base: bytes | None
    edits: tuple[AppliedEdit, ...]
    after: bytes | None
    keeps_foreign_edits: bool = False
    conflicts: tuple[MergeConflict, ...] = ()

    @property
    def before(self) -> bytes | None:
        return self.snapshot.content

    @property
    def changes_target(self) -> bool:
        """Whether the target itself changes."""
        return self.before != self.after

    @property
    def is_noop(self) -> bool:
        """Whether target and entry are as they should be."""
        if self.changes_target:
            return False
        if self.stored is None:
            return not self.edits
        entry = self.stored.entry
        same = entry.edits == self.edits and entry.base == self.base and entry.written == self.after
        return same and not entry.pending


def conflict_error(step: TargetUpdate) -> RefusedError:
    """Why a step with conflicts is not done: both texts of each place."""
    told = []
    for one in step.conflicts:
        told += [f"{one.place} — as it would be put back:", *_indented(one.ours)]
        told += ["as somebody made it (this is what --force drops):", *_indented(one.theirs)]
    return RefusedError(
        f"{step.target} was edited since, where the fix had changed it",
        why="\n".join(told),
        next_step="undo that edit by hand, or run this again with --force, which drops it",
    )


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()] or ["    (nothing)"]


def rebase(entry: LedgerEntry, content: bytes | None) -> MergeResult:
    """The base under what is there now: the stored one, with somebody's later edits in it."""
    candidates = [entry.written, *([entry.intended] if entry.pending else [])]
    if content in candidates:
        return MergeResult(content=entry.base)
    # a write that was begun may have come to its end or not: what is there is nearer to one
    ancestor = max(candidates, key=lambda one: _likeness(one, content))
    return undo_change(entry.base, ancestor, content, spec=isinstance(entry.target, ObjectSpec))


def initial_base(stored_template: StoredEntry | None, content: bytes | None) -> MergeResult:
    """The base where none is stored: without what came by a template that has a fix already."""
    if stored_template:
        entry = stored_template.entry
        ours = entry.intended if entry.pending else entry.written
        content = apply_template_change(ours, entry.base, content)
    return MergeResult(content=content)


def apply_template_change(
    old: bytes | None, new: bytes | None, rendered: bytes | None
) -> bytes | None:
    """A text that was written from a template, when this becomes another; itself where that
    cannot be told.
    """
    merged = merge(old, new, rendered)
    return merged.content if merged.is_clean and rendered is not None else rendered


def _likeness(one: bytes | None, other: bytes | None) -> float:
    if one is None or other is None:
        return -1.0
    lines = (one.splitlines(), other.splitlines())
    return SequenceMatcher(None, *lines, autojunk=False).ratio()


def render_diff(step: TargetUpdate) -> str:
    """A unified diff of what a step writes; empty where it writes nothing."""
    if not step.changes_target:
        return ""

    def lines(content: bytes | None) -> list[str]:
        text = (content or b"").decode(errors="replace")
        # a carriage return would not be seen, and is a difference all the same
        return [line.replace("\r", "␍") for line in text.split("\n")]

    name = str(step.target)
    before = "/dev/null" if step.before is None else f"a/{name}"
    after = "/dev/null" if step.after is None else f"b/{name}"
    diff = unified_diff(lines(step.before), lines(step.after), before, after, lineterm="")
    return "\n".join(diff)
