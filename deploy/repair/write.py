"""Write the updates of a plan, as the only writer, after a trial of each new Corefile."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deploy.changes.engine import ChangeEngine
from deploy.changes.update import TargetUpdate
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster
from deploy.repair import coredns_reload, corefile_trial
from deploy.repair.model import RepairPlan
from mirror.core.progress import Progress


def write_plan(
    cluster: Cluster,
    engine: ChangeEngine,
    plan: RepairPlan,
    progress: Progress,
    *,
    force: bool,
    prove_first: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Apply every update in order. Returns the targets that were written.

    ``prove_first`` is called before the first target that needs a proof, and may raise.
    """
    updates = [update for update in plan.updates if not update.is_noop]
    if not updates:
        return ()
    coredns = plan.coredns
    corefiles = coredns_reload.select_corefiles(coredns, updates)
    permissions: list[Permission] = []
    if coredns and corefiles:
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
                if plan.decisions or target in edited
            }
            corefile_trial.try_corefile(cluster, coredns.workload, untried, progress)
        is_proved = False
        for update in updates:
            if update.target in plan.needs_proof_first and not is_proved:
                prove_first()
                is_proved = True
            written += write_update(engine, update, progress, force=force)
        if coredns and corefiles:
            coredns_reload.trigger_reload(cluster, coredns, plan.restarted_workload, progress)
    return tuple(written)


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
