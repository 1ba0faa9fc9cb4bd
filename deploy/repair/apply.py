"""Apply the plan of `mirror fix`: refuse or write, prove the effect, restart, report."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix
from deploy.changes.state import read_states
from deploy.changes.update import require_no_conflicts
from deploy.cluster.client import Cluster
from deploy.fix_registry import build_engine, load_fixes
from deploy.repair import restart
from deploy.repair.model import (
    FixProofError,
    FixRequest,
    RepairPlan,
    RepairResult,
    raise_failures,
)
from deploy.repair.plan import leaves_stale_pods
from deploy.repair.prove import FixProof, find_harmed_nodes, find_startup_failures, prove
from deploy.repair.rollback import plan_rollback, roll_back, roll_back_nodes
from deploy.repair.write import write_plan
from mirror.core.errors import RefusedError
from mirror.core.progress import SILENT, Progress


def apply_plan(
    cluster: Cluster, request: FixRequest, plan: RepairPlan, progress: Progress = SILENT
) -> RepairResult:
    """Write what was planned and prove it. Raises RefusedError, FixProofError."""
    _refuse(request, plan)
    agent_image = request.look.agent_image
    engine = build_engine(cluster, agent_image.reference if agent_image else None)
    if request.restart:
        engine.check_permissions((), restart.PERMISSIONS)
    changing = {decision.fix for decision in plan.decisions if decision.changes}
    fixes = [fix for fix in request.fixes if fix.name in changing]

    def prove_first() -> None:
        """Roll nodes back if what was written so far harms new pods there."""
        failures = find_startup_failures(cluster, request.look, fixes, progress)
        if failures:
            causes = [finding.cause for finding in failures]
            nodes = find_harmed_nodes(failures, fixes)
            raise roll_back_nodes(engine, fixes, nodes, causes, progress)

    failures = [*plan.failures]
    written = write_plan(
        cluster,
        engine,
        plan,
        progress,
        force=request.force,
        prove_first=prove_first,
        failures=failures,
    )
    names = " ".join(fix.name for fix in request.fixes)
    if not fixes:
        raise_failures(f"fix {names} is applied", failures, f"mirror fix {names}")
        return RepairResult(written=(), states=read_states(engine, load_fixes()))
    proof = prove(cluster, request.look, plan, fixes, progress)
    if proof.failures and not (failures and proof.is_harmless):
        raise _handle_failure(cluster, engine, fixes, proof, progress)
    restarted: tuple[str, ...] = ()
    stale: tuple[restart.StaleWorkload, ...] = ()
    unseen = ""
    if leaves_stale_pods(plan.decisions):
        restarted = restart.restart_workloads(cluster, plan.stale_workloads, progress)
        changed = restart.find_change_times(engine.entries())
        stale, unseen = restart.try_find_stale_workloads(cluster, changed)
    raise_failures(f"fix {names} is applied", failures, f"mirror fix {names}")
    return RepairResult(
        written=written,
        restarted=restarted,
        stale_workloads=stale,
        states=read_states(engine, load_fixes()),
        outcomes=proof.outcomes,
        proved_on=proof.proved_nodes,
        not_seen=(*proof.not_seen, unseen) if unseen else proof.not_seen,
    )


def _refuse(request: FixRequest, plan: RepairPlan) -> None:
    """Raise RefusedError for a fix that would do harm, or a conflict that is not forced."""
    for decision in plan.blocking:
        assert decision.refusal is not None
        raise RefusedError(
            f"fix {decision.fix}: {decision.refusal.reason}",
            why="\n".join(decision.refusal.objects),
            next_step=decision.refusal.next_step,
        )
    if not request.force:
        require_no_conflicts(*plan.updates)


def _handle_failure(
    cluster: Cluster,
    engine: ChangeEngine,
    fixes: Sequence[Fix],
    proof: FixProof,
    progress: Progress,
) -> FixProofError:
    """Roll back changes that harm pods, everywhere or on single nodes. Returns the error."""
    names = [fix.name for fix in fixes]
    fix, why = " ".join(names), "\n".join(proof.failures)
    if proof.is_harmful:
        progress.note("it does harm: roll it back")
        try:
            roll_back(cluster, plan_rollback(cluster, names), progress, force=False)
        except FixProofError as error:
            why += f"\n{error}"
        return FixProofError(
            f"fix {fix} harmed pods and was rolled back", why=why, next_step="mirror doctor"
        )
    if proof.harmed_nodes:
        with engine.hold_lease():
            return roll_back_nodes(engine, fixes, proof.harmed_nodes, proof.failures, progress)
    if len(proof.missing_nodes) == len(proof.failures):
        return FixProofError(
            f"fix {fix} is applied, but not on {', '.join(proof.missing_nodes)}",
            why=why,
            next_step="run the same command again when the node is back",
        )
    return FixProofError(
        f"fix {fix} was written, but it does not have the expected effect",
        why=why,
        next_step=f"mirror rollback {fix} restores what was there; mirror doctor shows more",
    )
