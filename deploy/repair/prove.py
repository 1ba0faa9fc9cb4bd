"""A fix proved by its effect: pods are answered as expected, and the checks that it cures hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deploy.changes.model import Fix
from deploy.cluster.client import Cluster
from deploy.doctor import run
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.findings.model import Finding, Severity
from deploy.repair import coredns_reload
from deploy.repair.plan import ProgramOutcome, RepairPlan
from mirror.core.progress import Progress
from mirror.probe.model import ExpectedAnswer

_AGAIN = 2
_COVERED = "hosts.covered"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixProof:
    """``failures`` say what did not come about. ``broken``: pods cannot work like this anywhere;
    ``harmed`` are nodes on which new ones cannot, ``missing`` those that could not be reached.
    """

    failures: tuple[str, ...]
    is_harmful: bool
    harmed_nodes: tuple[str, ...]
    missing_nodes: tuple[str, ...]
    outcomes: tuple[ProgramOutcome, ...]
    proved_nodes: tuple[str, ...]
    not_seen: tuple[str, ...]


def prove(
    cluster: Cluster,
    look: CollectOptions,
    planned: RepairPlan,
    fixes: Sequence[Fix],
    progress: Progress,
) -> FixProof:
    """Wait for the effect, then look again as `mirror doctor` does."""
    before = planned.evidence
    assert before is not None
    wanted: list[ExpectedAnswer] = []
    for fix in fixes:
        made = next(one.changes for one in planned.decisions if one.fix == fix.name)
        wanted += [one for one in fix.expected_answers(made, before) if one not in wanted]
    missed = coredns_reload.wait_for_answers(cluster, look, before, wanted, progress)
    after = collect(cluster, needs_for_proof(fixes), look, progress)
    found = _uncured(after, fixes)
    for _ in range(_AGAIN):
        if find_harmed_nodes(found, fixes) or all(one.check == _COVERED for one in found):
            break
        # a question that was lost is no failure of the fix: what holds is seen again
        after = collect(cluster, needs_for_proof(fixes), look, progress)
        found = _uncured(after, fixes)
    return FixProof(
        failures=(*missed.failures, *(one.cause for one in found)),
        is_harmful=missed.cluster_names_lost,
        harmed_nodes=find_harmed_nodes(found, fixes),
        missing_nodes=tuple(node for one in found if one.check == _COVERED for node in one.nodes),
        outcomes=_outcomes(before, after),
        proved_nodes=missed.proved_nodes,
        not_seen=missed.not_seen,
    )


def find_startup_failures(
    cluster: Cluster, look: CollectOptions, fixes: Sequence[Fix], progress: Progress
) -> list[Finding]:
    """What new pods on every node find wrong, of what these fixes are undone for at once."""
    strict = [fix for fix in fixes if fix.rollback_on_failure]
    found = _uncured(collect(cluster, needs_for_proof(strict), look, progress), strict)
    return [one for one in found if find_harmed_nodes([one], strict)]


def needs_for_proof(fixes: Iterable[Fix]) -> frozenset[Need]:
    """What has to be seen to know whether these fixes work."""
    cures = {cure for fix in fixes for cure in fix.resolved_checks}
    checks = [one for category in run.load_categories() for one in category.checks]
    return frozenset(need for one in checks if one.id in cures for need in one.needs)


def _uncured(evidence: Evidence, fixes: Sequence[Fix]) -> list[Finding]:
    cures = {cure for fix in fixes for cure in fix.resolved_checks}
    asked = tuple(
        run.CheckCategory(
            name=one.name, checks=tuple(check for check in one.checks if check.id in cures)
        )
        for one in run.load_categories()
    )
    return list(run.judge(evidence, asked).findings)


def find_harmed_nodes(found: Iterable[Finding], fixes: Sequence[Fix]) -> tuple[str, ...]:
    """Nodes with an error of a fix that is not to stand with one."""
    cures = {cure for fix in fixes if fix.rollback_on_failure for cure in fix.resolved_checks}
    bad = [one for one in found if one.check in cures and one.severity is Severity.ERROR]
    return tuple(sorted({node for one in bad for node in one.nodes}))


def _outcomes(before: Evidence, after: Evidence) -> tuple[ProgramOutcome, ...]:
    """What the same programs said of the same names, before and after."""

    def said(evidence: Evidence) -> dict[tuple[str, str, str, str], str]:
        if isinstance(evidence.pod_dns, Unseen):
            return {}
        return {
            (one.node, name.name, program.program, program.libc): program.text or program.outcome
            for one in evidence.pod_dns
            if not isinstance(one.view, Unseen)
            for name in one.view.names
            for program in name.programs
            if not program.asked.endswith(".") and program.outcome != "absent"
        }

    earlier, later = said(before), said(after)
    return tuple(
        ProgramOutcome(
            node=k[0], name=k[1], program=k[2], libc=k[3], before=earlier[k], after=later[k]
        )
        for k in earlier
        if k in later
    )
