"""A step: one target from what stands there to what should, compared with what we left there."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff

from deploy.changes.ledger import Page
from deploy.changes.model import Applied, Held, LedgerEntry, ObjectSpec, Target
from mirror.core.errors import RefusedError
from mirror.merge import Conflict, Merged, merge, under


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to become of one target. ``after`` is its content, ``edits`` those in its entry.

    ``kept`` tells that somebody's later edits are in ``after``; ``conflicts`` where they touch
    ours, so that ``after`` drops them. ``changes`` are those that asked for it.
    """

    target: Target
    held: Held
    page: Page | None
    base: bytes | None
    edits: tuple[Applied, ...]
    after: bytes | None
    kept: bool = False
    conflicts: tuple[Conflict, ...] = ()

    @property
    def before(self) -> bytes | None:
        return self.held.content

    @property
    def writes(self) -> bool:
        """Whether the target itself changes."""
        return self.before != self.after

    @property
    def idle(self) -> bool:
        """Whether target and entry are as they should be."""
        if self.writes:
            return False
        if self.page is None:
            return not self.edits
        entry = self.page.entry
        same = entry.edits == self.edits and entry.base == self.base and entry.written == self.after
        return same and not entry.pending


def refusal(step: Step) -> RefusedError:
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


def rebase(entry: LedgerEntry, content: bytes | None) -> Merged:
    """The base under what is there now: the stored one, with somebody's later edits in it."""
    candidates = [entry.written, *([entry.intended] if entry.pending else [])]
    if content in candidates:
        return Merged(content=entry.base)
    # a write that was begun may have come to its end or not: what is there is nearer to one
    ancestor = max(candidates, key=lambda one: _likeness(one, content))
    return under(entry.base, ancestor, content, spec=isinstance(entry.target, ObjectSpec))


def born(template: Page | None, content: bytes | None) -> Merged:
    """The base where none is stored: without what came by a template that has a fix already."""
    if template:
        entry = template.entry
        ours = entry.intended if entry.pending else entry.written
        content = carried(ours, entry.base, content)
    return Merged(content=content)


def carried(before: bytes | None, after: bytes | None, content: bytes | None) -> bytes | None:
    """A text that was written from a template, when this becomes another; itself where that
    cannot be told.
    """
    merged = merge(before, after, content)
    return merged.content if merged.clean and content is not None else content


def _likeness(one: bytes | None, other: bytes | None) -> float:
    if one is None or other is None:
        return -1.0
    lines = (one.splitlines(), other.splitlines())
    return SequenceMatcher(None, *lines, autojunk=False).ratio()


def difference(step: Step) -> str:
    """A unified diff of what a step writes; empty where it writes nothing."""
    if not step.writes:
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
