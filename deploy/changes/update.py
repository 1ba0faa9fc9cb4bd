"""Update one target to the planned content, merged with the edits of others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import SequenceMatcher, unified_diff

from deploy.changes.ledger import StoredEntry
from deploy.changes.masked import mask_conflict, mask_content
from deploy.changes.model import AppliedEdit, LedgerEntry, ObjectSpec, Target
from deploy.changes.trim import contains, trim
from mirror.core.errors import MirrorError, RefusedError
from mirror.merge import MergeConflict, MergeResult, merge, undo_change
from mirror.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUpdate:
    """The planned content of one target (``after``) and the ``edits`` of its ledger entry.

    ``keeps_foreign_edits``: ``after`` has edits that somebody else has made since. ``conflicts``
    are the places where such edits touch ours, so that ``after`` drops them. ``stores_inverse``:
    the ledger gets only what differs (see trim.py).
    """

    target: Target
    snapshot: Snapshot
    stored: StoredEntry | None
    base: bytes | None
    edits: tuple[AppliedEdit, ...]
    after: bytes | None
    keeps_foreign_edits: bool = False
    conflicts: tuple[MergeConflict, ...] = ()
    stores_inverse: bool = False

    @property
    def before(self) -> bytes | None:
        return self.snapshot.content

    @property
    def changes_target(self) -> bool:
        """Whether the target itself is written, not only its ledger entry."""
        return self.before != self.after

    @property
    def is_noop(self) -> bool:
        """Whether both the target and its ledger entry are as planned already."""
        if self.changes_target:
            return False
        if self.stored is None:
            return not self.edits
        entry = self.stored.entry
        base, after = self.base, self.after
        if self.stores_inverse and (trimmed := trim([base, after])):
            base, after = trimmed
        planned = (self.edits, base, after)
        return (entry.edits, entry.base, entry.written) == planned and not entry.pending


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFailure:
    """A target, or a ConfigMap of the ledger, that nothing could be done with, and why."""

    target: Target | str
    error: MirrorError

    def __str__(self) -> str:
        return f"{self.target}: {self.error}"


def require_no_conflicts(*updates: TargetUpdate) -> None:
    """Raise RefusedError for the first update with conflicts; it shows both texts of each."""
    update = next((update for update in updates if update.conflicts), None)
    if update is None:
        return
    lines = []
    for conflict in update.conflicts:
        lines += [f"{conflict.place} — as it would be put back:", *_indent(conflict.ours)]
        lines += ["as it was edited since (--force drops this):", *_indent(conflict.theirs)]
    raise RefusedError(
        f"{update.target} was edited where the fix had changed it",
        why="\n".join(lines),
        next_step="undo that edit by hand, or run this again with --force, which drops it",
    )


def _indent(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()] or ["    (nothing)"]


def rebase(entry: LedgerEntry, content: bytes | None) -> MergeResult:
    """Return the stored base with the edits that others have made to the target since."""
    candidates = [entry.written, *([entry.intended] if entry.pending else [])]
    if content in candidates and not entry.trimmed:
        return MergeResult(content=entry.base)
    if entry.trimmed and content is None:
        return MergeResult(content=None)  # the workload was deleted: there is nothing to restore
    # an unfinished write may have happened or not: take the content that is more similar
    ancestor = max(candidates, key=lambda candidate: _similarity(candidate, content))
    if entry.trimmed:
        assert content is not None
        # what lacks an edit is contained in what has it, so the longest one is meant
        found = [each for each in candidates if each is not None and contains(content, each)]
        ancestor = max(found, key=len, default=ancestor)
    is_spec = isinstance(entry.target, ObjectSpec)
    merged = undo_change(entry.base, ancestor, content, spec=is_spec)
    if is_spec:
        merged = replace(merged, conflicts=tuple(map(mask_conflict, merged.conflicts)))
    return merged


def initial_base(stored_template: StoredEntry | None, content: bytes | None) -> MergeResult:
    """Return the base of a target that has no entry: its content, minus the fix in its template."""
    if stored_template:
        entry = stored_template.entry
        fixed = entry.intended if entry.pending else entry.written
        content = apply_template_change(fixed, entry.base, content)
    return MergeResult(content=content)


def apply_template_change(
    old: bytes | None, new: bytes | None, rendered: bytes | None
) -> bytes | None:
    """Apply the change old→new of a template to a file rendered from it.

    Returns the file unchanged if the change does not apply cleanly.
    """
    merged = merge(old, new, rendered)
    return merged.content if merged.is_clean and rendered is not None else rendered


def _similarity(first: bytes | None, second: bytes | None) -> float:
    if first is None or second is None:
        return -1.0
    lines = (first.splitlines(), second.splitlines())
    return SequenceMatcher(None, *lines, autojunk=False).ratio()


def render_diff(update: TargetUpdate) -> str:
    """Return a unified diff of what an update writes to its target; empty if nothing.

    Secrets in the spec of an object are masked.
    """
    if not update.changes_target:
        return ""

    def split(content: bytes | None) -> list[str]:
        content = mask_content(update.target, content)
        text = (content or b"").decode(errors="replace")
        # a carriage return is invisible in a terminal, but it is a difference
        return [line.replace("\r", "␍") for line in text.split("\n")]

    name = str(update.target)
    before = "/dev/null" if update.before is None else f"a/{name}"
    after = "/dev/null" if update.after is None else f"b/{name}"
    diff = unified_diff(split(update.before), split(update.after), before, after, lineterm="")
    return "\n".join(diff)
