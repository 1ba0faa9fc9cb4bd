"""The only code that changes objects of others: plans, stores, writes, settles and undoes updates.

Each target has one ledger entry: its base and the edits on top, applied in the order of their
editors. An update takes a target from its current content to the planned one, with its entry:

1. store the entry with the intended content, marked as pending;
2. write the target, if it is still what was read;
3. settle the entry: the written content is the current one. An entry without edits is removed.

If the process is killed between two steps, the content of the target shows which step was the
last, and the same command or a rollback continues from there. Edits that somebody has made to the
target since then are merged into the base (merge.py). If they touch ours, the update has a conflict
and needs force.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as installed_version

from deploy.changes import lease
from deploy.changes.ledger import PERMISSIONS, Ledger
from deploy.changes.model import (
    AppliedEdit,
    CannotEdit,
    Change,
    ConfigMapKey,
    Edit,
    Editor,
    LedgerEntry,
    ObjectSpec,
    Target,
    TargetDriver,
)
from deploy.changes.targets import ApiDriver
from deploy.changes.update import (
    TargetUpdate,
    apply_template_change,
    initial_base,
    rebase,
    require_no_conflicts,
)
from deploy.cluster.access import Permission, find_missing
from deploy.cluster.client import Cluster
from mirror.core.errors import ClusterError, RefusedError
from mirror.snapshot import WriteConflict

_MAX_TRIES = 5  # in case others write between our read and our write


class ChangeEngine:
    """Plans updates and applies them.

    ``editors`` maps names to the editors that compute edits. ``drivers`` maps types of targets to
    their drivers, in addition to the driver for the Kubernetes API.
    """

    def __init__(
        self,
        cluster: Cluster,
        editors: Mapping[str, Editor],
        drivers: Mapping[type, TargetDriver] | None = None,
    ) -> None:
        self._cluster = cluster
        self._editors = editors
        api = ApiDriver(cluster)
        self._drivers: dict[type, TargetDriver] = {ConfigMapKey: api, ObjectSpec: api}
        self._drivers |= drivers or {}
        self._ledger = Ledger(cluster)

    # -- reading --------------------------------------------------------------------------------

    def entries(self) -> list[LedgerEntry]:
        """Return all entries of the ledger."""
        return [stored.entry for stored in self._ledger.read_all()]

    def applied_changes(self, fix: str) -> tuple[Change, ...]:
        """Return the changes of a fix that are in the ledger, in the order they were made."""
        edits = [(entry.target, edit) for entry in self.entries() for edit in entry.edits]
        ours = sorted((e for e in edits if e[1].edit.fix == fix), key=lambda pair: pair[1].step)
        return tuple(Change(target=target, edit=e.edit, why=e.why) for target, e in ours)

    def reapply_command(self, target: Target, edit: Edit) -> str:
        """Return the command that makes this edit again."""
        editor = self._editors.get(edit.fix)
        return editor.reapply_command(target, edit) if editor else f"mirror fix {edit.fix}"

    def find_unreachable(self, targets: Iterable[Target]) -> list[Target]:
        """Return the targets that are on nodes which cannot be reached now."""
        return [target for target in targets if not self._driver(target).is_reachable(target)]

    # -- planning -------------------------------------------------------------------------------

    def plan(self, changes: Sequence[Change]) -> list[TargetUpdate]:
        """Return the updates that make these changes, one per target.

        ``changes`` must hold all changes that a fix makes to a target. Its edits to other targets
        stay. Raises RefusedError if an editor cannot edit a target.
        """
        edits: dict[Target, list[AppliedEdit]] = {}
        steps, totals = Counter[str](), Counter(change.edit.fix for change in changes)
        for change in changes:
            fix = change.edit.fix
            steps[fix] += 1
            # the options as they will be read from the ledger
            edit = replace(change.edit, options=json.loads(json.dumps(dict(change.edit.options))))
            applied = AppliedEdit(edit=edit, step=steps[fix], steps=totals[fix], why=change.why)
            edits.setdefault(change.target, []).append(applied)
        templates = {change.target: change.template for change in changes}
        return [
            self._plan_target(target, partial(_add_edits, added), templates[target])
            for target, added in edits.items()
        ]

    def plan_entry(self, entry: LedgerEntry) -> TargetUpdate:
        """Return the update that makes an entry's target what it should be."""
        return self._plan_target(entry.target, lambda edits: edits)

    def plan_rollback(
        self, fixes: Iterable[str], targets: Collection[Target] | None = None
    ) -> list[TargetUpdate]:
        """Return the updates that remove these fixes' edits (of these targets), last one first."""
        removed = set(fixes)

        def position(entry: LedgerEntry) -> tuple[int, int]:
            ours = [applied for applied in entry.edits if applied.edit.fix in removed]
            return max(((self._order(applied), applied.step) for applied in ours), default=(-1, 0))

        def keep(edits: Iterable[AppliedEdit]) -> tuple[AppliedEdit, ...]:
            return tuple(applied for applied in edits if applied.edit.fix not in removed)

        # an entry whose rollback was interrupted has no edits left, and must still be finished
        entries = [e for e in self.entries() if not e.edits or e.has_edit_of(removed)]
        ordered = [e.target for e in sorted(entries, key=position, reverse=True)]
        # workloads restart, and read the rest when they start: they come last
        ordered.sort(key=lambda target: isinstance(target, ObjectSpec) and bool(target.namespace))
        selected = [target for target in ordered if targets is None or target in targets]
        return [self._plan_target(target, keep) for target in selected]

    def plan_template_change(self, template: TargetUpdate, target: Target) -> TargetUpdate:
        """Return the update of a target without an entry that applies its template's change."""
        snapshot = self._driver(target).read(target)
        after = apply_template_change(template.before, template.after, snapshot.content)
        return TargetUpdate(
            target=target,
            snapshot=snapshot,
            stored=self._ledger.read(target),
            base=after,
            edits=(),
            after=after,
        )

    def _order(self, applied: AppliedEdit) -> int:
        editor = self._editors.get(applied.edit.fix)
        if editor is None:
            raise RefusedError(
                f"the ledger has changes of a fix unknown to this version: {applied.edit.fix}",
                why="another version of this tool made them",
                next_step="use that version, or a newer one",
            )
        return editor.order

    def _plan_target(
        self,
        target: Target,
        change_edits: Callable[[tuple[AppliedEdit, ...]], tuple[AppliedEdit, ...]],
        template: Target | None = None,
    ) -> TargetUpdate:
        stored = self._ledger.read(target)
        snapshot = self._driver(target).read(target)
        entry = stored.entry if stored else None
        if entry:
            base = rebase(entry, snapshot.content)
        else:
            base = initial_base(self._ledger.read(template) if template else None, snapshot.content)
        edits = tuple(sorted(change_edits(entry.edits if entry else ()), key=self._order))
        after = self._apply_edits(edits, target, base.content)
        settled = entry is not None and not entry.pending and edits == entry.edits and edits
        if settled and base.is_clean and after != snapshot.content:
            # if all our edits are there, but in a different order, leave the target alone
            again = self._apply_edits(edits, target, snapshot.content)
            after = snapshot.content if again == snapshot.content else after
        return TargetUpdate(
            target=target,
            snapshot=snapshot,
            stored=stored,
            base=base.content,
            edits=edits,
            after=after,
            keeps_foreign_edits=bool(entry and base.content != entry.base),
            conflicts=base.conflicts,
        )

    def _apply_edits(
        self, edits: Iterable[AppliedEdit], target: Target, content: bytes | None
    ) -> bytes | None:
        try:
            for applied in edits:
                editor = self._editors[applied.edit.fix]
                content = editor.edit(applied.edit, target, content)
        except CannotEdit as error:
            raise RefusedError(f"{target} cannot be edited safely", why=str(error)) from error
        return content

    # -- applying -------------------------------------------------------------------------------

    def check_permissions(
        self, targets: Iterable[Target], extra: Iterable[Permission] = ()
    ) -> None:
        """Raise ClusterError with every missing permission. Writes nothing.

        Checks the permissions for the ledger, the Lease, these targets, and ``extra``.
        """
        needed = {*PERMISSIONS, *lease.PERMISSIONS, *extra}
        for target in targets:
            needed.update(self._driver(target).required_permissions(target))
        ordered = sorted(needed, key=lambda p: (p.namespace or "", p.resource, p.verb))
        missing = find_missing(self._cluster, ordered)
        if missing:
            raise ClusterError(
                f"missing permissions: {'; '.join(map(str, missing))}",
                why="nothing was changed",
                next_step="ask for them (docs/rights.md has the role), or use another --context",
            )

    def hold_lease(self) -> AbstractContextManager[None]:
        """Return the context in which updates must be applied: one writer at a time."""
        return lease.hold(self._cluster)

    def apply(self, update: TargetUpdate, *, force: bool = False) -> TargetUpdate:
        """Apply one update completely. Returns it as applied, with later writes by others merged.

        Raises RefusedError for a conflict, unless ``force``.
        """
        edits = update.edits
        for _ in range(_MAX_TRIES):
            if not force:
                require_no_conflicts(update)
            try:
                self._write(update)
                return update
            except WriteConflict:
                update = self._plan_target(update.target, lambda _: edits)
        raise RefusedError(
            f"{update.target} keeps changing: another controller is writing it",
            why=f"tried {_MAX_TRIES} times; the other controller's content is kept",
            next_step="find out which one (managedFields of the object), then run this again",
        )

    def forget(self, targets: Collection[Target]) -> None:
        """Remove the entries of targets that will never exist again."""
        for stored in self._ledger.read_all():
            if stored.entry.target in targets:
                self._ledger.delete(stored)

    def _write(self, update: TargetUpdate) -> None:
        if update.is_noop:
            return
        stored, written, metadata = update.stored, update.after, update.snapshot.metadata
        if stored and stored.entry.base is not None:
            metadata = stored.entry.metadata  # it was read with the base
        entry = LedgerEntry(
            target=update.target,
            base=update.base,
            edits=update.edits,
            written=update.before,
            intended=update.after,
            pending=True,
            metadata=metadata,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=lease.current_user(),
            tool_version=installed_version("pypi-mirror"),
        )
        if update.changes_target:
            stored = self._ledger.put(entry, stored)
            driver = self._driver(update.target)
            snapshot = driver.write(update.target, update.after, update.snapshot, metadata)
            written = snapshot.content
        if update.edits:
            settled = replace(entry, written=written, intended=None, pending=False)
            self._ledger.put(settled, stored)
        elif stored is not None:
            self._ledger.delete(stored)

    def _driver(self, target: Target) -> TargetDriver:
        return self._drivers[type(target)]


def _add_edits(
    added: Sequence[AppliedEdit], edits: Sequence[AppliedEdit]
) -> tuple[AppliedEdit, ...]:
    """Return the added edits and those of other fixes. An equal edit keeps its old reason."""
    replaced = {applied.edit.fix for applied in added}
    existing = {(old.edit.fix, old.step, old.steps): old for old in edits}
    chosen = []
    for new in added:
        old = existing.get((new.edit.fix, new.step, new.steps))
        chosen.append(old if old and old.edit == new.edit else new)
    return (*(old for old in edits if old.edit.fix not in replaced), *chosen)
