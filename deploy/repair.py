"""`mirror fix` and `mirror rollback`: observe, decide, show; then write, prove by the effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from deploy import diagnose, running, taken_up, trial
from deploy.changes.engine import Engine
from deploy.changes.joined import written_since
from deploy.changes.model import (
    ConfigMapKey,
    Fix,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    Refusal,
    Right,
    Target,
)
from deploy.changes.states import FixState, states
from deploy.changes.step import Step, refusal
from deploy.cluster.client import Cluster
from deploy.evidence.collect import collect
from deploy.evidence.coredns import read_coredns
from deploy.evidence.hosts import release, retire
from deploy.evidence.model import Evidence, Need, Unseen
from deploy.manifests.agent import ORDERS_MAP
from deploy.manifests.model import NAME
from deploy.planned import (
    Decided,
    Plan,
    ProofError,
    Repaired,
    Request,
    chosen,
    corefiles,
    diff,
    known,
    restarts,
)
from deploy.proved import Proof, harmed, needs_of_cures, pods_start, prove
from deploy.put_back import given_back, left_behind
from deploy.standing import engine as with_every_fix
from mirror.core.errors import RefusedError
from mirror.core.progress import SILENT, Progress


def engine(cluster: Cluster, image: str | None = None) -> Engine:
    """The engine with every fix there is; ``image`` is the node agent's, should it be started."""
    return with_every_fix(cluster, lambda: image or diagnose.probe_image(cluster, NAME))


def tidy(cluster: Cluster, *, undone: bool = False) -> tuple[str, ...]:
    """End the node agent where no change needs it. What it could not undo, in words."""
    there = [one.target for one in engine(cluster).entries()]
    if not any(isinstance(one, NodeFile | NodeSysctl) for one in there):
        return retire(cluster, undone=undone)
    if undone and not any(
        isinstance(one, ConfigMapKey) and one.name == ORDERS_MAP for one in there
    ):
        release(cluster)  # what came by order goes with the orders; the agents stay
    return ()


def standing(cluster: Cluster) -> tuple[FixState, ...]:
    """How each fix stands."""
    return states(engine(cluster), known())


# -- fix ------------------------------------------------------------------------------------------


def plan(cluster: Cluster, request: Request, progress: Progress = SILENT) -> Plan:
    """Look and decide; writes nothing but pods that look."""
    works = engine(cluster, request.look.image)
    needs = frozenset(need for fix in request.fixes for need in fix.needs)
    needs |= needs_of_cures(request.fixes)
    look = replace(request.look, agents=Need.HOSTS in needs)
    evidence = collect(cluster, needs, look, progress)
    decided = [_decide(works, fix, evidence, request) for fix in request.fixes]
    wanted = [change for one in decided for change in one.changes]
    steps = works.plan(wanted)
    kept: tuple[running.Older, ...] = ()
    if _of_pods(decided):
        changed = running.changed_at(works.entries(), steps)
        kept, _ = running.seen(cluster, changed, request.restart)
    core = None if isinstance(evidence.coredns, Unseen) else evidence.coredns
    return Plan(
        decided=tuple(decided),
        diffs=tuple(diff(step, wanted) for step in steps),
        restarts=restarts(core, steps),
        running=kept,
        proved_first=tuple(change.target for change in wanted if change.proved_first),
        evidence=evidence,
        core=core,
        steps=tuple(steps),
    )


def _decide(works: Engine, fix: Fix, evidence: Evidence, request: Request) -> Decided:
    mine = {one.name: request.options.get(one.name) for one in fix.options}
    made = fix.changes(evidence, mine, works.held(fix.name))
    told: dict[str, Any] = {"fix": fix.name, "fact": fix.fact, "blast": fix.blast}
    if isinstance(made, Refusal):
        return Decided(**told, refusal=made)
    return Decided(**told, changes=made)


def _of_pods(decided: Iterable[Decided]) -> bool:
    """Whether running pods keep what new ones do not have any more."""
    return any(one.fix == running.FIX and one.changes for one in decided)


def carry_out(
    cluster: Cluster, request: Request, planned: Plan, progress: Progress = SILENT
) -> Repaired:
    """Write what was planned and prove it. Raises RefusedError, ProofError."""
    for one in planned.stops:
        assert one.refusal is not None
        raise RefusedError(
            f"fix {one.fix}: {one.refusal.reason}",
            why="\n".join(one.refusal.objects),
            next_step=one.refusal.next_step,
        )
    works = engine(cluster, request.look.image)
    for step in planned.steps:
        if step.conflicts and not request.force:
            raise refusal(step)
    if request.restart:
        works.check_rights((), running.RIGHTS)
    made = {one.fix for one in planned.decided if one.changes}
    fixes = [fix for fix in request.fixes if fix.name in made]

    def first() -> None:
        """What stands there so far harms no new pod; else its node goes back."""
        found = pods_start(cluster, request.look, fixes, progress)
        if found:
            raise given_back(
                works, fixes, harmed(found, fixes), [one.cause for one in found], progress
            )

    written = _write(cluster, works, planned, progress, force=request.force, first=first)
    if not fixes:
        return Repaired(written=(), states=states(works, known()))
    proof = prove(cluster, request.look, planned, fixes, progress)
    if proof.failures:
        raise _failed(cluster, works, fixes, proof, progress)
    restarted: tuple[str, ...] = ()
    kept, unseen = tuple[running.Older, ...](), ""
    if _of_pods(planned.decided):
        restarted = running.restart(cluster, planned.running, progress)
        kept, unseen = running.seen(cluster, running.changed_at(works.entries()))
    return Repaired(
        written=written,
        restarted=restarted,
        running=kept,
        states=states(works, known()),
        outcomes=proof.outcomes,
        proved_on=proof.nodes,
        not_seen=(*proof.not_seen, unseen) if unseen else proof.not_seen,
    )


def _failed(
    cluster: Cluster,
    works: Engine,
    fixes: Sequence[Fix],
    proof: Proof,
    progress: Progress,
) -> ProofError:
    """What to say; what pods cannot live with is undone first: a node, or all of it."""
    names = [fix.name for fix in fixes]
    said, why = " ".join(names), "\n".join(proof.failures)
    if proof.broken:
        progress.note("it does harm: it is rolled back")
        undo(cluster, plan_rollback(cluster, names), progress, force=False)
        return ProofError(
            f"fix {said} did harm and was rolled back", why=why, next_step="mirror doctor"
        )
    if proof.harmed:
        with works.only_writer():
            return given_back(works, fixes, proof.harmed, proof.failures, progress)
    if len(proof.missing) == len(proof.failures):
        return ProofError(
            f"fix {said} is in force, but not on {', '.join(proof.missing)}",
            why=why,
            next_step="run the same command again when it is back",
        )
    return ProofError(
        f"fix {said} was written, but what it should bring about is not there",
        why=why,
        next_step=f"mirror rollback {said} puts back what was there; mirror doctor looks further",
    )


def _write(
    cluster: Cluster,
    works: Engine,
    planned: Plan,
    progress: Progress,
    *,
    force: bool,
    first: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Every step, in order; ``first`` before those that wait for a proof, and may raise."""
    steps = [step for step in planned.steps if not step.idle]
    if not steps:
        return ()
    core = planned.core
    texts = corefiles(core, steps)
    progress.step("check the rights to change, to store and to undo")
    more: list[Right] = []
    if core and texts:
        more += [*trial.rights(core.namespace), *taken_up.rights(core, planned.restarts)]
    works.check_rights([step.target for step in steps], more)
    written = []
    with works.only_writer():
        if core:
            # what a rollback puts back has run before; somebody's edits on top of it have not
            tried = {k: t for k, t in texts.items() if planned.decided or _kept(steps, k)}
            trial.trial(cluster, core.workload, tried, progress)
        proved = False
        for step in steps:
            if step.target in planned.proved_first and not proved:
                first()
                proved = True
            progress.step(f"write {step.target}")
            done = works.do(step, force=force)
            written += [str(step.target)] if done.writes else []
        if core and texts:
            taken_up.hasten(cluster, core, planned.restarts, progress)
    return tuple(written)


def _kept(steps: Iterable[Step], target: Target) -> bool:
    return any(step.kept for step in steps if step.target == target)


# -- rollback -------------------------------------------------------------------------------------


def plan_rollback(cluster: Cluster, names: Iterable[str]) -> Plan:
    """What taking these fixes away (all that are in the ledger, when none is named) would write."""
    works = engine(cluster)
    wanted = [fix.name for fix in chosen(names)] or list(known())
    mine = [e.target for e in works.entries() if not e.edits or _of(e, wanted)]
    away = works.away(mine)
    steps = works.plan_rollback(wanted, [one for one in mine if one not in away])
    steps = [*written_since(cluster, works, steps), *steps]
    core = read_coredns(cluster) if steps else None
    return Plan(
        decided=(),
        diffs=tuple(map(diff, steps)),
        restarts=restarts(core, steps),
        away=tuple(away),
        core=core,
        steps=tuple(steps),
    )


def _of(entry: LedgerEntry, fixes: Collection[str]) -> bool:
    return any(one.edit.fix in fixes for one in entry.edits)


def undo(cluster: Cluster, planned: Plan, progress: Progress = SILENT, *, force: bool) -> Repaired:
    """Put back what was there. Raises RefusedError where somebody's later edit would be lost, and
    ProofError where nodes are away: all else is back then.
    """
    works = engine(cluster)
    for step in planned.steps:
        if step.conflicts and not force:
            raise refusal(step)
    written = _write(cluster, works, planned, progress, force=force)
    if planned.away:
        left_behind(cluster, works, planned.away, force=force)
    return Repaired(written=written, states=states(works, known()))
