"""Write the updates of a plan while holding the Lease, after a trial of each new Corefile."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import ConfigMapKey
from deploy.changes.update import TargetFailure, TargetUpdate
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster
from deploy.repair import coredns_reload, corefile_trial
from deploy.repair.loaded_corefile import read_running, wait_until_loaded
from deploy.repair.model import RepairPlan
from mirror.core.errors import MirrorError, RefusedError
from mirror.core.progress import Progress


def write_plan(
    cluster: Cluster,
    engine: ChangeEngine,
    plan: RepairPlan,
    progress: Progress,
    *,
    force: bool,
    prove_first: Callable[[], None] = lambda: None,
    failures: list[TargetFailure] | None = None,
) -> tuple[str, ...]:
    """Apply every update in order. Returns the targets that were written.

    ``prove_first`` is called before the first target that needs a proof, and may raise. A target
    that cannot be written is added to ``failures``, and the rest is written; without such a list
    the error is raised.
    """
    updates = [update for update in plan.updates if not update.is_noop]
    if not updates:
        return ()
    coredns = plan.coredns
    corefiles = coredns_reload.select_corefiles(coredns, updates)
    is_rollback = not plan.decisions
    permissions: list[Permission] = []
    if coredns and corefiles:
        if not is_rollback:
            coredns_reload.require_running(cluster, coredns)
        permissions += corefile_trial.required_permissions(coredns.namespace)
        permissions += coredns_reload.restart_permissions(coredns, plan.restarted_workload)
    check_permissions(engine, updates, progress, permissions)
    written: list[str] = []
    with engine.hold_lease():
        if coredns:
            edited = [update.target for update in updates if update.keeps_foreign_edits]
            # a Corefile that a rollback restores has run before, unless others have edited it since
            untried = {
                target: text
                for target, text in corefiles.items()
                if not is_rollback or target in edited
            }
            corefile_trial.try_corefile(cluster, coredns.workload, untried, progress)
        running = None
        if coredns and corefiles and is_rollback and not plan.restarted_workload:
            running = read_running(cluster, coredns, _seconds_since_fix(updates, corefiles))
        is_proved = False
        for update in updates:
            if update.target in plan.needs_proof_first:
                if any(not isinstance(failure.target, str) for failure in failures or ()):
                    _skip(update, failures)
                    continue
                if not is_proved:
                    prove_first()
                    is_proved = True
            try:
                written += write_update(engine, update, progress, force=force)
            except MirrorError as error:
                if failures is None:
                    raise
                failures.append(TargetFailure(target=update.target, error=error))
        if coredns and corefiles:
            coredns_reload.trigger_reload(
                cluster, coredns, plan.restarted_workload, progress, undo=is_rollback
            )
            if running:
                wait_until_loaded(cluster, coredns, running, progress)
            if is_rollback:
                coredns_reload.remove_annotation(cluster, coredns)
    return tuple(written)


def _seconds_since_fix(
    updates: Iterable[TargetUpdate], corefiles: Collection[ConfigMapKey]
) -> float:
    """Return how long ago a fix last wrote one of these Corefiles; long if that is unknown."""
    times = [each.stored.entry.at for each in updates if each.stored and each.target in corefiles]
    try:
        last = max(datetime.fromisoformat(text) for text in times)
        return max(0.0, (datetime.now(UTC) - last).total_seconds())
    except (TypeError, ValueError):
        return math.inf


def _skip(update: TargetUpdate, failures: list[TargetFailure] | None) -> None:
    """Leave a target as it is that is safe only if all targets before it are written."""
    error = RefusedError("it waits for the targets above, without which it would do harm")
    if failures is not None:
        failures.append(TargetFailure(target=update.target, error=error))


def check_permissions(
    engine: ChangeEngine,
    updates: Iterable[TargetUpdate],
    progress: Progress,
    extra: Iterable[Permission] = (),
) -> None:
    """Raise ClusterError that names every permission missing for these updates."""
    progress.step("check the permissions to change, to store and to undo")
    engine.check_permissions([update.target for update in updates], extra)


def write_update(
    engine: ChangeEngine, update: TargetUpdate, progress: Progress, *, force: bool
) -> list[str]:
    """Apply one update. Returns its target if that was written, not only the ledger."""
    progress.step(f"write {update.target}")
    applied = engine.apply(update, force=force)
    return [str(update.target)] if applied.changes_target else []
