"""`mirror rollback`: undo fixes, or roll back single nodes after a failure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from deploy.changes.cni_targets import CONFIG_MAP, find_active_conflist
from deploy.changes.engine import ChangeEngine
from deploy.changes.fix import Fix
from deploy.changes.model import ConfigMapKey, NodeFile, NodeSysctl, Target
from deploy.changes.state import read_states
from deploy.changes.update import TargetFailure, TargetUpdate, require_no_conflicts
from deploy.cluster.client import Cluster
from deploy.evidence.coredns import read_coredns
from deploy.evidence.hosts import read_hosts
from deploy.evidence.nodes import read_nodes
from deploy.evidence.unseen import Unseen
from deploy.fix_registry import build_engine, load_fixes
from deploy.repair.coredns_reload import find_restart
from deploy.repair.model import FixProofError, RepairPlan, RepairResult, raise_failures
from deploy.repair.plan import build_diff, select_fixes
from deploy.repair.write import write_plan
from mirror.core.progress import SILENT, Progress


def plan_rollback(cluster: Cluster, names: Iterable[str], *, dry_run: bool = False) -> RepairPlan:
    """Plan the removal of these fixes, or of every fix in the ledger if none is named.

    A dry run starts no node agent: without one, targets on nodes count as unreachable.
    """
    engine = build_engine(cluster, start_agents=not dry_run)
    fixes = [fix.name for fix in select_fixes(names)] or list(load_fixes())
    targets = [
        entry.target for entry in engine.entries() if not entry.edits or entry.has_edit_of(fixes)
    ]
    unreachable = engine.find_unreachable(targets)
    failures: list[TargetFailure] = []
    reachable = [t for t in targets if t not in unreachable]
    updates = engine.plan_rollback(fixes, reachable, failures)
    updates = [*_plan_joined_nodes(cluster, engine, updates), *updates]
    coredns = read_coredns(cluster) if updates else None
    return RepairPlan(
        decisions=(),
        diffs=tuple(map(build_diff, updates)),
        restarted_workload=find_restart(coredns, updates),
        unreachable=tuple(unreachable),
        failures=tuple(failures),
        coredns=coredns,
        updates=tuple(updates),
    )


def roll_back(
    cluster: Cluster, plan: RepairPlan, progress: Progress = SILENT, *, force: bool
) -> RepairResult:
    """Restore what was there.

    Raises RefusedError if later edits by others would be lost, and FixProofError if nodes cannot
    be reached or a target cannot be restored; everything else is restored then.
    """
    engine = build_engine(cluster)
    if not force:
        require_no_conflicts(*plan.updates)
    failures = [*plan.failures]
    written = write_plan(cluster, engine, plan, progress, force=force, failures=failures)
    if plan.unreachable:
        report_unreachable(cluster, engine, plan.unreachable, force=force)
    raise_failures("the rollback is done", failures, "mirror rollback")
    return RepairResult(written=written, states=read_states(engine, load_fixes()))


def report_unreachable(
    cluster: Cluster, engine: ChangeEngine, targets: Sequence[Target], *, force: bool
) -> None:
    """Raise FixProofError for targets on unreachable nodes.

    With ``force`` the entries of nodes that left the cluster are removed instead.
    """
    nodes = {node.name for node in read_nodes(cluster)}
    gone = [target for target in targets if _node_of(target) not in nodes]
    if force:
        with engine.hold_lease():
            engine.forget(gone)
    left = sorted({_node_of(t) for t in targets if not force or t not in gone})
    if left:
        kept = "\n".join(str(target) for target in targets if _node_of(target) in left)
        raise FixProofError(
            f"not rolled back on {', '.join(left)}: no agent runs there",
            why=f"everything else is restored; the copies of these stay stored:\n{kept}",
            next_step="run mirror rollback again when the nodes are back"
            + ("; --force forgets nodes that will not come back" if gone and not force else ""),
        )


def roll_back_nodes(
    engine: ChangeEngine,
    fixes: Sequence[Fix],
    nodes: Collection[str],
    why: Iterable[str],
    progress: Progress,
) -> FixProofError:
    """Roll these nodes back at once; the other nodes keep the fix. Returns the error to raise."""
    names = [fix.name for fix in fixes if fix.rollback_on_failure]
    recorded = [entry.target for entry in engine.entries()]
    targets = [t for t in recorded if isinstance(t, NodeFile | NodeSysctl) and t.node in nodes]
    failures: list[TargetFailure] = []
    for update in engine.plan_rollback(names, targets, failures):
        progress.step(f"roll back {update.target}: new pods there do not work")
        engine.apply(update)
    fix = " ".join(names)
    return FixProofError(
        f"fix {fix} is partial: {', '.join(sorted(nodes))} was rolled back",
        why="\n".join([*why, *(f"not rolled back: {failure}" for failure in failures)]),
        next_step="repair that node before calico-node restarts there and writes the fix again; "
        f"then run this again, or mirror rollback {fix}",
    )


def _plan_joined_nodes(
    cluster: Cluster, engine: ChangeEngine, updates: Sequence[TargetUpdate]
) -> list[TargetUpdate]:
    """Plan the files of nodes that joined after the fix, if Calico's template is rolled back.

    calico-node wrote them there from the template with the fix; the ledger does not have them.
    """
    template = next((update for update in updates if _is_template(update.target)), None)
    if template is None:
        return []
    recorded = {entry.target for entry in engine.entries()}
    hosts = read_hosts(cluster, None, read_nodes(cluster), SILENT)
    planned = []
    for host in () if isinstance(hosts, Unseen) else hosts:
        conflist = None if isinstance(host.view, Unseen) else find_active_conflist(host.view)
        if conflist is None:
            continue
        target = NodeFile(node=host.node, path=conflist.path)
        if target not in recorded:
            planned.append(engine.plan_template_change(template, target))
    return [update for update in planned if update.changes_target]


def _is_template(target: Target) -> bool:
    return isinstance(target, ConfigMapKey) and target.name == CONFIG_MAP


def _node_of(target: Target) -> str:
    assert isinstance(target, NodeFile | NodeSysctl)
    return target.node
