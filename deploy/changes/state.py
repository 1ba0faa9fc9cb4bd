"""The state of each fix, read from its targets: absent, applied, drifted, partial or unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deploy.changes.engine import ChangeEngine
from deploy.changes.ledger import NAMESPACE
from deploy.changes.model import LedgerEntry, StateName
from deploy.evidence.fixes import TargetStatus
from mirror.core.codec import json_key
from mirror.core.errors import MirrorError

LEDGER_STATE = "(ledger)"  # stands for what is in the ledger but is not obeyed
_WORST_FIRST: tuple[StateName, ...] = ("drifted", "partial", "unknown", "applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixState:
    """The state of one fix: drifted if something was changed back, partial if it is not finished.

    ``reapply_command`` repairs it; empty if it is applied.
    """

    fix: str
    state: StateName
    at: str = ""
    by: str = ""
    targets: tuple[TargetStatus, ...] = ()
    reapply_command: str = field(default="", metadata=json_key("again"))


def read_states(engine: ChangeEngine, fixes: Iterable[str]) -> tuple[FixState, ...]:
    """Return the state of each of these fixes, then of everything else in the ledger."""
    entries = engine.entries()
    names = [*fixes]
    names += sorted({edit.edit.fix for entry in entries for edit in entry.edits} - set(names))
    targets = {id(entry): _read_target(engine, entry) for entry in entries}
    states = [_read_fix(engine, name, entries, targets) for name in names]
    # an interrupted rollback leaves an entry without edits, which does not say whose it was
    unfinished = tuple(targets[id(entry)] for entry in entries if not entry.edits)
    if unfinished:
        states.append(
            FixState(
                fix="(rollback)",
                state="partial",
                targets=unfinished,
                reapply_command="mirror rollback",
            )
        )
    rejected = tuple(
        TargetStatus(target=f"ConfigMap {NAMESPACE}/{r.name}", state="unknown", detail=str(r.error))
        for r in engine.rejected()
    )
    if rejected:
        states.append(FixState(fix=LEDGER_STATE, state="unknown", targets=rejected))
    return tuple(states)


def _read_fix(
    engine: ChangeEngine, name: str, entries: list[LedgerEntry], targets: dict[int, TargetStatus]
) -> FixState:
    pairs = [(applied, entry) for entry in entries for applied in entry.edits]
    edits = sorted((p for p in pairs if p[0].edit.fix == name), key=lambda pair: pair[0].step)
    if not edits:
        return FixState(fix=name, state="absent")
    states = [targets[id(entry)].state for _, entry in edits]
    is_complete = len(edits) >= max(applied.steps for applied, _ in edits)
    found = {*states, "applied" if is_complete else "partial"}
    state: StateName = next(s for s in _WORST_FIRST if s in found)
    last = max((entry for _, entry in edits), key=lambda entry: entry.at)
    applied, entry = edits[states.index(state) if state in states else 0]
    again = "" if state == "applied" else engine.reapply_command(entry.target, applied.edit)
    return FixState(
        fix=name,
        state=state,
        at=last.at,
        by=last.by,
        targets=tuple(targets[id(entry)] for _, entry in edits),
        reapply_command=again,
    )


def _read_target(engine: ChangeEngine, entry: LedgerEntry) -> TargetStatus:
    state, detail = _compare_target(engine, entry)
    return TargetStatus(target=str(entry.target), state=state, detail=detail)


def _compare_target(engine: ChangeEngine, entry: LedgerEntry) -> tuple[StateName, str]:
    """Return the state of a target, and in what it differs."""
    if entry.pending:
        return "partial", "a write was started but not finished"
    try:
        update = engine.plan_entry(entry)
    except MirrorError as error:
        return "unknown", str(error)
    if update.conflicts:
        return "drifted", "edited where the fix changed it"
    if update.changes_target:
        is_reverted = update.before == update.base
        return "drifted", "as it was before the fix" if is_reverted else "changed back"
    return "applied", "later edits by others are kept" if update.keeps_foreign_edits else ""
