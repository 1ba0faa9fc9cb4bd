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

from deploy.changes import lease, seal
from deploy.changes.ledger import (
    NAMESPACE,
    PERMISSIONS,
    Ledger,
    RejectedEntry,
    StoredEntry,
    config_map_name,
)
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
from deploy.changes.provenance import find_flaw
from deploy.changes.targets import ApiDriver
from deploy.changes.trim import contains, is_trimmable, trim
from deploy.changes.update import (
    TargetFailure,
    TargetUpdate,
    apply_template_change,
    initial_base,
    rebase,
    require_no_conflicts,
)
from deploy.changes.workload_guard import check_workload_change, is_workload
from deploy.cluster.access import Permission, find_missing
from deploy.cluster.client import Cluster
from deploy.cluster.process_identity import current_user
from mirror.core.errors import ClusterError, MirrorError, RefusedError
from mirror.merge import MergeResult
from mirror.snapshot import WriteConflict
from mirror.version import VERSION

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
        """Return all entries of the ledger that can be used; ``rejected`` returns the others."""
        return [stored.entry for stored in self._scan()[0]]

    def rejected(self) -> list[RejectedEntry]:
        """Return what is in the ledger but is not obeyed: damaged, newer, or not made by a fix."""
        return self._scan()[1]

    def _scan(self) -> tuple[list[StoredEntry], list[RejectedEntry]]:
        usable = []
        entries, rejected = self._ledger.scan()
        for stored in entries:
            error = self._find_flaw(stored.entry)
            if error:
                name = config_map_name(stored.entry.target)
                rejected.append(RejectedEntry(name=name, error=error))
            else:
                usable.append(stored)
        return usable, rejected

    def _find_flaw(self, entry: LedgerEntry) -> RefusedError | None:
        """Return the error for an entry that our editors cannot have made."""
        flaw = find_flaw(entry, self._editors)
        if not flaw and seal.needs_seal(entry):
            flaw = seal.find_flaw(self._cluster, entry)
        return self._forged_error(entry, flaw) if flaw else None

    def _forged_error(self, entry: LedgerEntry, flaw: str) -> RefusedError:
        name = config_map_name(entry.target)
        return RefusedError(
            f"the stored copy in ConfigMap {NAMESPACE}/{name} was not made by mirror: {flaw}",
            why="somebody who may write ConfigMaps there made or changed it; nothing is changed "
            "based on it",
            next_step=f"look at it: kubectl -n {NAMESPACE} get configmap {name} -o yaml; then "
            f"kubectl -n {NAMESPACE} delete configmap {name}",
        )

    def _read_entry(self, target: Target) -> StoredEntry | None:
        """Return the entry of a target. Raises RefusedError if it cannot be used."""
        stored = self._ledger.read(target)
        error = self._find_flaw(stored.entry) if stored else None
        if error:
            raise error
        return stored

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

    def plan(
        self, changes: Sequence[Change], failures: list[TargetFailure] | None = None
    ) -> list[TargetUpdate]:
        """Return the updates that make these changes, one per target.

        ``changes`` must hold all changes that a fix makes to a target. Its edits to other targets
        stay. A target that cannot be read or edited is added to ``failures``, and the rest is
        planned; without such a list the error is raised.
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
        return self._plan_each(
            edits,
            lambda target: self._plan_target(
                target, partial(_add_edits, edits[target]), templates[target]
            ),
            failures,
        )

    def plan_entry(self, entry: LedgerEntry) -> TargetUpdate:
        """Return the update that makes an entry's target what it should be."""
        return self._plan_target(entry.target, lambda edits: edits)

    def plan_rollback(
        self,
        fixes: Iterable[str],
        targets: Collection[Target] | None = None,
        failures: list[TargetFailure] | None = None,
    ) -> list[TargetUpdate]:
        """Return the updates that remove these fixes' edits (of these targets), last one first.

        What cannot be planned, and every ConfigMap of the ledger that cannot be used, is added to
        ``failures``; without such a list the first error is raised.
        """
        removed = set(fixes)
        stored, rejected = self._scan()
        unusable = [TargetFailure(target=f"ConfigMap {r.name}", error=r.error) for r in rejected]
        if failures is None and unusable:
            raise unusable[0].error
        if failures is not None:
            failures += unusable

        def position(entry: LedgerEntry) -> tuple[int, int]:
            ours = [applied for applied in entry.edits if applied.edit.fix in removed]
            return max(((self._order(applied), applied.step) for applied in ours), default=(-1, 0))

        def keep(edits: Iterable[AppliedEdit]) -> tuple[AppliedEdit, ...]:
            return tuple(applied for applied in edits if applied.edit.fix not in removed)

        # an entry whose rollback was interrupted has no edits left, and must still be finished
        entries = [each.entry for each in stored]
        entries = [e for e in entries if not e.edits or e.has_edit_of(removed)]
        ordered = [e.target for e in sorted(entries, key=position, reverse=True)]
        # workloads restart, and read the rest when they start: they come last
        ordered.sort(key=lambda target: isinstance(target, ObjectSpec) and bool(target.namespace))
        selected = [target for target in ordered if targets is None or target in targets]
        return self._plan_each(selected, lambda target: self._plan_target(target, keep), failures)

    def _plan_each(
        self,
        targets: Iterable[Target],
        plan: Callable[[Target], TargetUpdate],
        failures: list[TargetFailure] | None,
    ) -> list[TargetUpdate]:
        updates = []
        for target in targets:
            try:
                updates.append(plan(target))
            except MirrorError as error:
                if failures is None:
                    raise
                failures.append(TargetFailure(target=target, error=error))
        return updates

    def plan_template_change(self, template: TargetUpdate, target: Target) -> TargetUpdate:
        """Return the update of a target without an entry that applies its template's change."""
        snapshot = self._driver(target).read(target)
        after = apply_template_change(template.before, template.after, snapshot.content)
        return TargetUpdate(
            target=target,
            snapshot=snapshot,
            stored=self._read_entry(target),
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
        stored = self._read_entry(target)
        snapshot = self._driver(target).read(target)
        entry = stored.entry if stored else None
        is_owned = any(editor.owns(target) for editor in self._editors.values())
        if is_owned:
            base = MergeResult(content=None)
        elif entry:
            base = rebase(entry, snapshot.content)
        else:
            base = initial_base(self._read_entry(template) if template else None, snapshot.content)
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
            keeps_foreign_edits=bool(
                entry and not is_owned and _has_foreign_edits(entry, base.content)
            ),
            conflicts=base.conflicts,
            stores_inverse=self._stores_inverse(target, (*edits, *(entry.edits if entry else ()))),
        )

    def _stores_inverse(self, target: Target, edits: Collection[AppliedEdit]) -> bool:
        editors = [self._editors[applied.edit.fix] for applied in edits]
        return is_trimmable(target) and all(editor.stores_inverse for editor in editors)

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
                self._write(update, force=force)
                return update
            except WriteConflict:
                planned_on = _get_edits(update.stored)
                update = self._plan_target(update.target, lambda _: edits)
                if _get_edits(update.stored) not in (planned_on, edits):
                    raise RefusedError(
                        f"another command has changed the fixes of {update.target}",
                        why="it took over the Lease, which this command did not renew in time",
                        next_step="run the same command again",
                    ) from None
        raise RefusedError(
            f"{update.target} keeps changing: another controller is writing it",
            why=f"tried {_MAX_TRIES} times; the other controller's content is kept",
            next_step="find out which one (managedFields of the object), then run this again",
        )

    def forget(self, targets: Collection[Target]) -> None:
        """Remove the entries of targets that will never exist again."""
        for stored in self._scan()[0]:
            if stored.entry.target in targets:
                self._ledger.delete(stored)

    def _write(self, update: TargetUpdate, *, force: bool) -> None:
        if update.is_noop:
            return
        stored, written, metadata = update.stored, update.after, update.snapshot.metadata
        if stored and stored.entry.base is not None and not stored.entry.trimmed:
            metadata = stored.entry.metadata  # it was read with the base
        earlier = (*stored.entry.edits, *stored.entry.undone) if stored else ()
        entry = LedgerEntry(
            target=update.target,
            base=update.base,
            edits=update.edits,
            written=update.before,
            intended=update.after,
            pending=True,
            metadata=metadata,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=current_user(),
            tool_version=VERSION,
            undone=tuple(applied for applied in earlier if applied not in update.edits),
        )
        if update.changes_target:
            self._check_workload(update, entry)
            pending = _trim_entry(entry) if update.stores_inverse else entry
            if update.before is not None and seal.needs_seal(pending):
                seal.put_seal(self._cluster, pending)
            stored = self._ledger.put(pending, stored)
            driver = self._driver(update.target)
            snapshot = driver.write(
                update.target, update.after, update.snapshot, metadata, force=force
            )
            written = snapshot.content
        if update.edits:
            settled = replace(entry, written=written, intended=None, pending=False, undone=())
            self._ledger.put(_trim_entry(settled) if update.stores_inverse else settled, stored)
        elif stored is not None:
            self._ledger.delete(stored)
            if seal.needs_seal(stored.entry):
                seal.remove_confirmation(self._cluster, stored.entry)

    def _check_workload(self, update: TargetUpdate, entry: LedgerEntry) -> None:
        """Raise RefusedError before a workload is created or gets what no edit of ours changes."""
        if not is_workload(update.target):
            return
        check_workload_change(update.target, update.before, update.after)
        if update.before is None and update.after is not None:
            is_copy = update.after == update.base
            flaw = seal.find_flaw(self._cluster, entry) if is_copy else "its copy has other edits"
            if flaw:
                raise self._forged_error(entry, flaw)

    def _driver(self, target: Target) -> TargetDriver:
        return self._drivers[type(target)]


def _get_edits(stored: StoredEntry | None) -> tuple[AppliedEdit, ...]:
    return stored.entry.edits if stored else ()


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


def _has_foreign_edits(entry: LedgerEntry, base: bytes | None) -> bool:
    """Return whether others have edited the target, as far as the stored base can tell."""
    if entry.trimmed and entry.base is not None and base is not None:
        return not contains(base, entry.base)
    return base != entry.base


def _trim_entry(entry: LedgerEntry) -> LedgerEntry:
    """Return the entry with nothing of a workload but what its edits changed."""
    contents = [entry.base, entry.written, *([entry.intended] if entry.pending else [])]
    trimmed = trim(contents)
    if trimmed is None:
        return entry
    base, written, intended = [*trimmed, None][:3]
    # labels and annotations serve to create an object again, which the inverse alone cannot
    return replace(entry, base=base, written=written, intended=intended, metadata="", trimmed=True)
