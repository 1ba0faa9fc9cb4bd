"""Plan `mirror fix`: collect evidence, let each fix decide, compute the updates. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix, Refusal
from deploy.changes.model import Change, NodeFile, NodeSysctl
from deploy.changes.update import TargetFailure, TargetUpdate, render_diff
from deploy.cluster.client import Cluster
from deploy.evidence.collect import collect
from deploy.evidence.hosts import assume_hosts
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.fix_registry import build_engine, load_fixes
from deploy.repair import restart
from deploy.repair.coredns_reload import find_restart
from deploy.repair.model import FixDecision, FixRequest, RepairPlan, TargetDiff
from deploy.repair.prove import needs_for_proof
from mirror.core.errors import InputError
from mirror.core.progress import SILENT, Progress


def select_fixes(names: Iterable[str]) -> tuple[Fix, ...]:
    """Return the fixes of these names; `all` selects every one. Raises InputError."""
    fixes = load_fixes()
    selected = list(names)
    for name in selected:
        if name != "all" and name not in fixes:
            raise InputError(
                f"no fix {name!r}", why="the fixes are: " + ", ".join(fixes), next_step="mirror fix"
            )
    return tuple(fix for fix in fixes.values() if fix.name in selected or "all" in selected)


def plan_fixes(cluster: Cluster, request: FixRequest, progress: Progress = SILENT) -> RepairPlan:
    """Collect evidence and decide. Creates nothing but probe pods and node agents.

    A dry run starts no agent. Where none runs it assumes what nodes usually have, and lists the
    changes there as unseen.
    """
    agent_image = request.look.agent_image
    engine = build_engine(
        cluster,
        agent_image.reference if agent_image else None,
        start_agents=not request.dry_run,
    )
    needs = needs_for_proof(request.fixes)
    needs |= frozenset(need for fix in request.fixes for need in fix.needs)
    starts_agents = Need.HOSTS in needs and not request.dry_run
    evidence = collect(cluster, needs, replace(request.look, start_agents=starts_agents), progress)
    is_assumed = Need.HOSTS in needs and request.dry_run and evidence.hosts == ()
    if is_assumed:
        evidence = _assume_hosts(evidence)
    decisions = [_decide(engine, fix, evidence, request) for fix in request.fixes]
    planned = [change for decision in decisions for change in decision.changes]
    unseen = [c for c in planned if is_assumed and isinstance(c.target, NodeFile | NodeSysctl)]
    changes = [change for change in planned if change not in unseen]
    failures: list[TargetFailure] = []
    updates = engine.plan(changes, failures)
    stale: tuple[restart.StaleWorkload, ...] = ()
    if leaves_stale_pods(decisions):
        changed = restart.find_change_times(engine.entries(), updates, unseen)
        stale, _ = restart.try_find_stale_workloads(cluster, changed, request.restart)
    coredns = None if isinstance(evidence.coredns, Unseen) else evidence.coredns
    return RepairPlan(
        decisions=tuple(decisions),
        diffs=tuple(build_diff(update, changes) for update in updates),
        restarted_workload=find_restart(coredns, updates),
        stale_workloads=stale,
        needs_proof_first=tuple(change.target for change in changes if change.needs_proof_first),
        failures=tuple(failures),
        evidence=evidence,
        coredns=coredns,
        updates=tuple(updates),
        unseen=tuple(unseen),
        agent_image=agent_image if Need.HOSTS in needs else None,
    )


def _assume_hosts(evidence: Evidence) -> Evidence:
    nodes, calico = evidence.nodes, evidence.calico
    if isinstance(nodes, Unseen):
        return evidence
    template = None if isinstance(calico, Unseen) or calico is None else calico.config
    return replace(evidence, hosts=assume_hosts(nodes, template))


def leaves_stale_pods(decisions: Iterable[FixDecision]) -> bool:
    """Return whether running pods keep what new ones no longer get."""
    return any(decision.fix == restart.FIX_NAME and decision.changes for decision in decisions)


def build_diff(update: TargetUpdate, changes: Sequence[Change] = ()) -> TargetDiff:
    """Return the difference that an update makes, with the reasons of its changes."""
    return TargetDiff(
        target=str(update.target),
        text=render_diff(update),
        why=tuple(change.why for change in changes if change.target == update.target),
        keeps_foreign_edits=update.keeps_foreign_edits,
        drops=tuple(conflict.theirs for conflict in update.conflicts),
    )


def _decide(engine: ChangeEngine, fix: Fix, evidence: Evidence, request: FixRequest) -> FixDecision:
    options = {option.name: request.options.get(option.name) for option in fix.options}
    result = fix.plan_changes(evidence, options, engine.applied_changes(fix.name))
    decision = FixDecision(fix=fix.name, summary=fix.summary, impact=fix.impact)
    if isinstance(result, Refusal):
        return replace(decision, refusal=result)
    return replace(decision, changes=result)
