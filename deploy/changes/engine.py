"""The only way to change what is not ours: plan, write ahead, write, settle; and back.

For each target there is one ledger entry: its base and the edits over it, folded in the order of
the fixes. A step takes a target from what stands there to what should, and its entry with it:

1. the entry is written with what is intended, marked as pending;
2. the target is written, if it is still what was read;
3. the entry is settled: what was written is what is there. Without edits it is removed.

After a kill between any two, what stands in the target tells which, and the same command or a
rollback goes on from there. Where somebody edited the target since, his changes are merged into the
base (merge.py); where they touch ours the step is a conflict, and done only by force.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as installed

from deploy.changes import lease
from deploy.changes.ledger import PERMISSIONS, Ledger
from deploy.changes.model import (
    AppliedEdit,
    CannotEdit,
    Change,
    ConfigMapKey,
    Edit,
    Fix,
    LedgerEntry,
    ObjectSpec,
    Target,
    TargetDriver,
)
from deploy.changes.targets import ConfigMapDriver, ObjectDriver
from deploy.changes.update import (
    TargetUpdate,
    apply_template_change,
    conflict_error,
    initial_base,
    rebase,
)
from deploy.cluster.access import Permission, find_missing
from deploy.cluster.client import Cluster
from mirror.core.errors import ClusterError, RefusedError
from mirror.snapshot import WriteConflict

_TRIES = 5  # times that somebody may write a target between our look and our write


class ChangeEngine:
    """Plans and does. ``fixes`` by name give the edits; ``hands`` by type of target are those
    besides the API's own.
    """

    def __init__(
        self,
        cluster: Cluster,
        fixes: Mapping[str, Fix],
        hands: Mapping[type, TargetDriver] | None = None,
    ) -> None:
        self._cluster = cluster
        self._fixes = fixes
        own: dict[type, TargetDriver] = {ConfigMapKey: ConfigMapDriver(cluster)}
        own[ObjectSpec] = ObjectDriver(cluster)
        self._hands: Mapping[type, TargetDriver] = {**own, **(hands or {})}
        self._ledger = Ledger(cluster)

    # -- looking --------------------------------------------------------------------------------

    def entries(self) -> list[LedgerEntry]:
        """All that is in the ledger."""
        return [page.entry for page in self._ledger.read_all()]

    def applied_changes(self, fix: str) -> tuple[Change, ...]:
        """The changes of a fix that are in the ledger, in the order in which they were made."""
        found = [
            (one.step, Change(target=entry.target, edit=one.edit, why=one.why))
            for entry in self.entries()
            for one in entry.edits
            if one.edit.fix == fix
        ]
        return tuple(change for _, change in sorted(found, key=lambda pair: pair[0]))

    def plan_entry(self, entry: LedgerEntry) -> TargetUpdate:
        """What would make this entry's target as it should be."""
        return self._step(entry.target, lambda edits: edits)

    def reapply_command(self, target: Target, edit: Edit) -> str:
        """The command that makes this edit once more."""
        fix = self._fixes.get(edit.fix)
        return (
            fix.reapply_command(target, edit)
            if fix and fix.reapply_command
            else f"mirror fix {edit.fix}"
        )

    # -- planning -------------------------------------------------------------------------------

    def plan(self, changes: Sequence[Change]) -> list[TargetUpdate]:
        """The steps that make these changes, each target once. Raises RefusedError (CannotEdit).

        All changes of a fix have to be given: edits of it on other targets are kept as they are.
        """
        steps: dict[Target, list[AppliedEdit]] = {}
        of = {change.edit.fix: 0 for change in changes}
        total = {fix: sum(c.edit.fix == fix for c in changes) for fix in of}
        for change in changes:
            fix = change.edit.fix
            of[fix] += 1
            edit = replace(change.edit, options=json.loads(json.dumps(dict(change.edit.options))))
            applied = AppliedEdit(edit=edit, step=of[fix], steps=total[fix], why=change.why)
            steps.setdefault(change.target, []).append(applied)
        above = {change.target: change.template for change in changes}
        return [self._step(one, partial(_with, more), above[one]) for one, more in steps.items()]

    def plan_rollback(
        self, fixes: Iterable[str], targets: Collection[Target] | None = None
    ) -> list[TargetUpdate]:
        """The steps that take these fixes' edits away (from these targets), the last one first."""
        gone = set(fixes)
        entries = [e for e in self.entries() if targets is None or e.target in targets]
        found = [
            (max(self._place(one) for one in entry.edits if one.edit.fix in gone), entry.target)
            for entry in entries
            if any(one.edit.fix in gone for one in entry.edits)
        ]
        # an entry whose rollback was interrupted has no edits left, and is still to be finished
        found += [((-1, 0), entry.target) for entry in entries if not entry.edits]
        found.sort(key=lambda pair: pair[0], reverse=True)
        # workloads restart, and read what else goes back when they start: they come last
        found.sort(key=lambda pair: isinstance(pair[1], ObjectSpec) and bool(pair[1].namespace))
        return [self._step(target, partial(_without, gone)) for _, target in found]

    def _place(self, applied: AppliedEdit) -> tuple[int, int]:
        return self._order(applied), applied.step

    def _order(self, applied: AppliedEdit) -> int:
        fix = self._fixes.get(applied.edit.fix)
        if fix is None:
            raise RefusedError(
                f"the ledger holds changes of a fix that this version does not know: "
                f"{applied.edit.fix}",
                why="they were made by another version of this tool",
                next_step="use that version, or a newer one",
            )
        return fix.order

    def find_unreachable(self, targets: Iterable[Target]) -> list[Target]:
        """Those on nodes that cannot be reached now."""
        return [one for one in targets if not self._hand(one).is_reachable(one)]

    def plan_template_change(self, template: TargetUpdate, target: Target) -> TargetUpdate:
        """A target without an entry, written by somebody from a template that changes: as it."""
        held = self._hand(target).read(target)
        after = apply_template_change(template.before, template.after, held.content)
        page = self._ledger.read(target)
        return TargetUpdate(
            target=target, snapshot=held, stored=page, base=after, edits=(), after=after
        )

    def forget(self, targets: Collection[Target]) -> None:
        """Drop the entries of targets that will never be there again."""
        for page in self._ledger.read_all():
            if page.entry.target in targets:
                self._ledger.delete(page)

    def _step(
        self,
        target: Target,
        change: Callable[[tuple[AppliedEdit, ...]], tuple[AppliedEdit, ...]],
        template: Target | None = None,
    ) -> TargetUpdate:
        page = self._ledger.read(target)
        held = self._hand(target).read(target)
        entry = page.entry if page else None
        above = self._ledger.read(template) if template and not page else None
        based = rebase(entry, held.content) if entry else initial_base(above, held.content)
        edits = tuple(sorted(change(entry.edits if entry else ()), key=self._order))
        after = self._folded(edits, target, based.content)
        settled = entry is not None and not entry.pending and edits == entry.edits and edits
        if settled and based.is_clean and after != held.content:
            # all of ours is there, only in another order than it would come by itself: let it be
            there = self._folded(edits, target, held.content) == held.content
            after = held.content if there else after
        return TargetUpdate(
            target=target,
            snapshot=held,
            stored=page,
            base=based.content,
            edits=edits,
            after=after,
            keeps_foreign_edits=bool(entry and based.content != entry.base),
            conflicts=based.conflicts,
        )

    def _folded(
        self, edits: Iterable[AppliedEdit], target: Target, content: bytes | None
    ) -> bytes | None:
        try:
            for one in edits:
                content = self._fixes[one.edit.fix].edit(one.edit, target, content)
        except CannotEdit as reason:
            raise RefusedError(f"{target} cannot be edited safely", why=str(reason)) from reason
        return content

    # -- doing ----------------------------------------------------------------------------------

    def find_missing_permissions(
        self, targets: Iterable[Target], more: Iterable[Permission] = ()
    ) -> list[Permission]:
        """Verbs that we lack to change these targets and keep the ledger."""
        required = {*PERMISSIONS, *lease.PERMISSIONS, *more}
        for target in targets:
            required |= set(self._hand(target).required_permissions(target))
        ordered = sorted(required, key=lambda p: (p.namespace or "", p.resource, p.verb))
        return find_missing(self._cluster, ordered)

    def check_permissions(self, targets: Iterable[Target], more: Iterable[Permission] = ()) -> None:
        """Raises ClusterError that names every verb that is missing. Writes nothing."""
        lacking = self.find_missing_permissions(targets, more)
        if lacking:
            raise ClusterError(
                f"rights are missing: {'; '.join(map(str, lacking))}",
                why="nothing was changed",
                next_step="ask for them (docs/rights.md has the role), or use another --context",
            )

    def hold_lease(self) -> AbstractContextManager[None]:
        """Everything that is done has to be done inside of this."""
        return lease.hold(self._cluster)

    def apply(self, step: TargetUpdate, *, force: bool = False) -> TargetUpdate:
        """One step, to its end; the step as it was done, which differs where somebody wrote.

        Raises RefusedError for a conflict, unless ``force``.
        """
        for _ in range(_TRIES):
            if step.conflicts and not force:
                raise conflict_error(step)
            try:
                self._do(step)
                return step
            except WriteConflict:
                wanted = step.edits
                step = self._step(step.target, partial(_instead, wanted))
        raise RefusedError(
            f"{step.target} is being written by somebody else all the time",
            why=f"tried {_TRIES} times; what he wrote stands there",
            next_step="find out who writes it (managedFields of the object), then run this again",
        )

    def _do(self, step: TargetUpdate) -> None:
        if step.is_noop:
            return
        page, result = step.stored, step.after
        frame = page.entry.frame if page and page.entry.base is not None else step.snapshot.metadata
        entry = LedgerEntry(
            target=step.target,
            base=step.base,
            edits=step.edits,
            written=step.before,
            intended=step.after,
            pending=True,
            frame=frame,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=lease.current_user(),
            tool_version=installed("pypi-mirror"),
        )
        if step.changes_target:
            page = self._ledger.put(entry, page)
            hand = self._hand(step.target)
            result = hand.write(step.target, step.after, step.snapshot, frame).content
        if step.edits:
            self._ledger.put(replace(entry, written=result, intended=None, pending=False), page)
        elif page is not None:
            self._ledger.delete(page)

    def _hand(self, target: Target) -> TargetDriver:
        return self._hands[type(target)]


def _instead(wanted: tuple[AppliedEdit, ...], _: Iterable[AppliedEdit]) -> tuple[AppliedEdit, ...]:
    return wanted


def _with(more: Sequence[AppliedEdit], edits: Sequence[AppliedEdit]) -> tuple[AppliedEdit, ...]:
    """These edits and those of other fixes; an edit that is there already stays as it is told."""
    replaced = {one.edit.fix for one in more}
    there = {(one.edit.fix, one.step, one.steps): one for one in edits}
    chosen = []
    for one in more:
        known = there.get((one.edit.fix, one.step, one.steps))
        chosen.append(known if known and known.edit == one.edit else one)
    return (*(one for one in edits if one.edit.fix not in replaced), *chosen)


def _without(gone: set[str], edits: Iterable[AppliedEdit]) -> tuple[AppliedEdit, ...]:
    return tuple(one for one in edits if one.edit.fix not in gone)
