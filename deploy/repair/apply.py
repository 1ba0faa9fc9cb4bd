"""`mirror fix` and `mirror rollback`: observe, decide, show; then write, prove by the effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from deploy.changes.engine import ChangeEngine
from deploy.changes.joined_nodes import plan_joined_nodes
from deploy.changes.model import (
    ConfigMapKey,
    Fix,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    Refusal,
    Target,
)
from deploy.changes.state import FixState, read_states
from deploy.changes.update import TargetUpdate, conflict_error
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster
from deploy.doctor import run
from deploy.evidence.collect import collect
from deploy.evidence.coredns import read_coredns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.node_agent import remove_agents, revert_desired_state
from deploy.evidence.unseen import Unseen
from deploy.manifests.agent import DESIRED_STATE_MAP
from deploy.manifests.model import NAME
from deploy.registry import build_engine as with_every_fix
from deploy.repair import coredns_reload, corefile_trial, restart
from deploy.repair.plan import (
    FixDecision,
    FixProofError,
    FixRequest,
    RepairPlan,
    RepairResult,
    build_diff,
    find_restart,
    load_fixes,
    select_corefiles,
    select_fixes,
)
from deploy.repair.prove import (
    FixProof,
    find_harmed_nodes,
    find_startup_failures,
    needs_for_proof,
    prove,
)
from deploy.repair.rollback import report_unreachable, roll_back_nodes
from mirror.core.errors import RefusedError
from mirror.core.progress import SILENT, Progress


def build_engine(cluster: Cluster, image: str | None = None) -> ChangeEngine:
    """The engine with every fix there is; ``image`` is the node agent's, should it be started."""
    return with_every_fix(cluster, lambda: image or run.find_probe_image(cluster, NAME))


def remove_idle_agents(cluster: Cluster, *, undone: bool = False) -> tuple[str, ...]:
    """End the node agent where no change needs it. What it could not undo, in words."""
    there = [one.target for one in build_engine(cluster).entries()]
    if not any(isinstance(one, NodeFile | NodeSysctl) for one in there):
        return remove_agents(cluster, rolled_back=undone)
    if undone and not any(
        isinstance(one, ConfigMapKey) and one.name == DESIRED_STATE_MAP for one in there
    ):
        revert_desired_state(cluster)  # what came by order goes with the orders; the agents stay
    return ()


def read_fix_states(cluster: Cluster) -> tuple[FixState, ...]:
    """How each fix stands."""
    return read_states(build_engine(cluster), load_fixes())


# -- fix ------------------------------------------------------------------------------------------


def plan_fixes(cluster: Cluster, request: FixRequest, progress: Progress = SILENT) -> RepairPlan:
    """Look and decide; writes nothing but pods that look."""
    works = build_engine(cluster, request.look.image)
    needs = frozenset(need for fix in request.fixes for need in fix.needs)
    needs |= needs_for_proof(request.fixes)
    look = replace(request.look, start_agents=Need.HOSTS in needs)
    evidence = collect(cluster, needs, look, progress)
    decided = [_decide(works, fix, evidence, request) for fix in request.fixes]
    wanted = [change for one in decided for change in one.changes]
    steps = works.plan(wanted)
    kept: tuple[restart.StaleWorkload, ...] = ()
    if _of_pods(decided):
        changed = restart.find_change_times(works.entries(), steps)
        kept, _ = restart.try_find_stale_workloads(cluster, changed, request.restart)
    core = None if isinstance(evidence.coredns, Unseen) else evidence.coredns
    return RepairPlan(
        decisions=tuple(decided),
        diffs=tuple(build_diff(step, wanted) for step in steps),
        restarted_workload=find_restart(core, steps),
        stale_workloads=kept,
        needs_proof_first=tuple(change.target for change in wanted if change.needs_proof_first),
        evidence=evidence,
        coredns=core,
        updates=tuple(steps),
    )


def _decide(works: ChangeEngine, fix: Fix, evidence: Evidence, request: FixRequest) -> FixDecision:
    mine = {one.name: request.options.get(one.name) for one in fix.options}
    made = fix.plan_changes(evidence, mine, works.applied_changes(fix.name))
    told: dict[str, Any] = {"fix": fix.name, "fact": fix.summary, "blast": fix.impact}
    if isinstance(made, Refusal):
        return FixDecision(**told, refusal=made)
    return FixDecision(**told, changes=made)


def _of_pods(decided: Iterable[FixDecision]) -> bool:
    """Whether running pods keep what new ones do not have any more."""
    return any(one.fix == restart.FIX_NAME and one.changes for one in decided)


def apply_plan(
    cluster: Cluster, request: FixRequest, planned: RepairPlan, progress: Progress = SILENT
) -> RepairResult:
    """Write what was planned and prove it. Raises RefusedError, ProofError."""
    for one in planned.blocking:
        assert one.refusal is not None
        raise RefusedError(
            f"fix {one.fix}: {one.refusal.reason}",
            why="\n".join(one.refusal.objects),
            next_step=one.refusal.next_step,
        )
    works = build_engine(cluster, request.look.image)
    for step in planned.updates:
        if step.conflicts and not request.force:
            raise conflict_error(step)
    if request.restart:
        works.check_permissions((), restart.PERMISSIONS)
    made = {one.fix for one in planned.decisions if one.changes}
    fixes = [fix for fix in request.fixes if fix.name in made]

    def first() -> None:
        """What stands there so far harms no new pod; else its node goes back."""
        found = find_startup_failures(cluster, request.look, fixes, progress)
        if found:
            raise roll_back_nodes(
                works,
                fixes,
                find_harmed_nodes(found, fixes),
                [one.cause for one in found],
                progress,
            )

    written = _write(cluster, works, planned, progress, force=request.force, first=first)
    if not fixes:
        return RepairResult(written=(), states=read_states(works, load_fixes()))
    proof = prove(cluster, request.look, planned, fixes, progress)
    if proof.failures:
        raise _failed(cluster, works, fixes, proof, progress)
    restarted: tuple[str, ...] = ()
    kept, unseen = tuple[restart.StaleWorkload, ...](), ""
    if _of_pods(planned.decisions):
        restarted = restart.restart_workloads(cluster, planned.stale_workloads, progress)
        kept, unseen = restart.try_find_stale_workloads(
            cluster, restart.find_change_times(works.entries())
        )
    return RepairResult(
        written=written,
        restarted=restarted,
        running=kept,
        states=read_states(works, load_fixes()),
        outcomes=proof.outcomes,
        proved_on=proof.proved_nodes,
        not_seen=(*proof.not_seen, unseen) if unseen else proof.not_seen,
    )


def _failed(
    cluster: Cluster,
    works: ChangeEngine,
    fixes: Sequence[Fix],
    proof: FixProof,
    progress: Progress,
) -> FixProofError:
    """What to say; what pods cannot live with is undone first: a node, or all of it."""
    names = [fix.name for fix in fixes]
    said, why = " ".join(names), "\n".join(proof.failures)
    if proof.is_harmful:
        progress.note("it does harm: it is rolled back")
        roll_back(cluster, plan_rollback(cluster, names), progress, force=False)
        return FixProofError(
            f"fix {said} did harm and was rolled back", why=why, next_step="mirror doctor"
        )
    if proof.harmed_nodes:
        with works.hold_lease():
            return roll_back_nodes(works, fixes, proof.harmed_nodes, proof.failures, progress)
    if len(proof.missing_nodes) == len(proof.failures):
        return FixProofError(
            f"fix {said} is in force, but not on {', '.join(proof.missing_nodes)}",
            why=why,
            next_step="run the same command again when it is back",
        )
    return FixProofError(
        f"fix {said} was written, but what it should bring about is not there",
        why=why,
        next_step=f"mirror rollback {said} puts back what was there; mirror doctor looks further",
    )


def _write(
    cluster: Cluster,
    works: ChangeEngine,
    planned: RepairPlan,
    progress: Progress,
    *,
    force: bool,
    first: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Every step, in order; ``first`` before those that wait for a proof, and may raise."""
    steps = [step for step in planned.updates if not step.is_noop]
    if not steps:
        return ()
    core = planned.coredns
    texts = select_corefiles(core, steps)
    progress.step("check the rights to change, to store and to undo")
    more: list[Permission] = []
    if core and texts:
        more += [
            *corefile_trial.required_permissions(core.namespace),
            *coredns_reload.restart_permissions(core, planned.restarted_workload),
        ]
    works.check_permissions([step.target for step in steps], more)
    written = []
    with works.hold_lease():
        if core:
            # what a rollback puts back has run before; somebody's edits on top of it have not
            tried = {k: t for k, t in texts.items() if planned.decisions or _kept(steps, k)}
            corefile_trial.try_corefile(cluster, core.workload, tried, progress)
        proved = False
        for step in steps:
            if step.target in planned.needs_proof_first and not proved:
                first()
                proved = True
            progress.step(f"write {step.target}")
            done = works.apply(step, force=force)
            written += [str(step.target)] if done.changes_target else []
        if core and texts:
            coredns_reload.trigger_reload(cluster, core, planned.restarted_workload, progress)
    return tuple(written)


def _kept(steps: Iterable[TargetUpdate], target: Target) -> bool:
    return any(step.keeps_foreign_edits for step in steps if step.target == target)


# -- rollback -------------------------------------------------------------------------------------


def plan_rollback(cluster: Cluster, names: Iterable[str]) -> RepairPlan:
    """What taking these fixes away (all that are in the ledger, when none is named) would write."""
    works = build_engine(cluster)
    wanted = [fix.name for fix in select_fixes(names)] or list(load_fixes())
    mine = [e.target for e in works.entries() if not e.edits or _of(e, wanted)]
    away = works.find_unreachable(mine)
    steps = works.plan_rollback(wanted, [one for one in mine if one not in away])
    steps = [*plan_joined_nodes(cluster, works, steps), *steps]
    core = read_coredns(cluster) if steps else None
    return RepairPlan(
        decisions=(),
        diffs=tuple(map(build_diff, steps)),
        restarted_workload=find_restart(core, steps),
        unreachable=tuple(away),
        coredns=core,
        updates=tuple(steps),
    )


def _of(entry: LedgerEntry, fixes: Collection[str]) -> bool:
    return any(one.edit.fix in fixes for one in entry.edits)


def roll_back(
    cluster: Cluster, planned: RepairPlan, progress: Progress = SILENT, *, force: bool
) -> RepairResult:
    """Put back what was there. Raises RefusedError where somebody's later edit would be lost, and
    ProofError where nodes are away: all else is back then.
    """
    works = build_engine(cluster)
    for step in planned.updates:
        if step.conflicts and not force:
            raise conflict_error(step)
    written = _write(cluster, works, planned, progress, force=force)
    if planned.unreachable:
        report_unreachable(cluster, works, planned.unreachable, force=force)
    return RepairResult(written=written, states=read_states(works, load_fixes()))
