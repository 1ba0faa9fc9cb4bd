"""How each fix stands: absent, applied, drifted, partial."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import LedgerEntry, StateName
from mirror.core.errors import MirrorError


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """One target of a fix. ``detail`` says what is unlike."""

    target: str
    state: StateName
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixState:
    """One fix. drifted: something was changed back. partial: begun and not finished.

    ``again`` is the command that brings it back, where it is not as it should be.
    """

    fix: str
    state: StateName
    at: str = ""
    by: str = ""
    targets: tuple[TargetState, ...] = ()
    again: str = ""


def read_states(engine: ChangeEngine, fixes: Iterable[str]) -> tuple[FixState, ...]:
    """The state of each of these fixes, and of whatever else is in the ledger."""
    entries = engine.entries()
    # an interrupted rollback leaves an entry without edits: whose it was is not known any more
    found = {one.edit.fix for entry in entries for one in entry.edits}
    names = [*fixes, *sorted(found - set(fixes))]
    seen = {id(entry): _target(engine, entry) for entry in entries}
    told = [_fix(engine, name, entries, seen) for name in names]
    rest = [seen[id(entry)] for entry in entries if not entry.edits]
    if rest:
        told.append(
            FixState(
                fix="(rollback)", state="partial", targets=tuple(rest), again="mirror rollback"
            )
        )
    return tuple(told)


def _fix(
    engine: ChangeEngine, name: str, entries: list[LedgerEntry], seen: dict[int, TargetState]
) -> FixState:
    mine = [(one, entry) for entry in entries for one in entry.edits if one.edit.fix == name]
    if not mine:
        return FixState(fix=name, state="absent")
    mine.sort(key=lambda found: found[0].step)
    targets = tuple(seen[id(entry)] for _, entry in mine)
    standing = {one.state for one in targets}
    last = max((entry for _, entry in mine), key=lambda entry: entry.at)
    state: StateName = "applied"
    if "drifted" in standing:
        state = "drifted"
    elif "partial" in standing or len(mine) < max(one.steps for one, _ in mine):
        state = "partial"
    elif "unknown" in standing:
        state = "unknown"
    worst = next((pair for pair in mine if seen[id(pair[1])].state == state), mine[0])
    again = "" if state == "applied" else engine.reapply_command(worst[1].target, worst[0].edit)
    return FixState(fix=name, state=state, at=last.at, by=last.by, targets=targets, again=again)


def _target(engine: ChangeEngine, entry: LedgerEntry) -> TargetState:
    name = str(entry.target)
    if entry.pending:
        return TargetState(target=name, state="partial", detail="a write was begun, not finished")
    try:
        step = engine.plan_entry(entry)
    except MirrorError as broken:
        return TargetState(target=name, state="unknown", detail=str(broken))
    if step.conflicts:
        return TargetState(target=name, state="drifted", detail="edited where the fix changed it")
    if step.changes_target:
        gone = "it stands as it did before the fix" if step.before == step.base else "changed back"
        return TargetState(target=name, state="drifted", detail=gone)
    detail = "somebody's later edits are kept" if step.keeps_foreign_edits else ""
    return TargetState(target=name, state="applied", detail=detail)
