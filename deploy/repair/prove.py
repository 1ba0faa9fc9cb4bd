"""Prove a fix by its effect: pods get the expected answers, and the checks it resolves pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from deploy.changes.fix import Fix
from deploy.cluster.client import Cluster
from deploy.doctor import run
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import Unseen
from deploy.findings.model import Finding, Severity
from deploy.repair import coredns_reload
from deploy.repair.model import ProgramOutcome, RepairPlan
from mirror.core.progress import Progress
from mirror.probe.model import ExpectedAnswer

_MAX_LOOKS = 3
_COVERED = "hosts.covered"  # the check for nodes that the fix did not reach


@dataclass(frozen=True, slots=True, kw_only=True)
class FixProof:
    """The result of a proof. ``failures`` lists the expected effects that are missing.

    ``is_harmful``: pods cannot work anywhere. ``harmed_nodes``: new pods do not start there.
    ``missing_nodes`` could not be reached.
    """

    failures: tuple[str, ...]
    is_harmful: bool
    harmed_nodes: tuple[str, ...]
    missing_nodes: tuple[str, ...]
    outcomes: tuple[ProgramOutcome, ...]
    proved_nodes: tuple[str, ...]
    not_seen: tuple[str, ...]

    @property
    def is_harmless(self) -> bool:
        """Whether nothing has to be rolled back, even if the effect is missing."""
        return not self.is_harmful and not self.harmed_nodes


def prove(
    cluster: Cluster,
    options: CollectOptions,
    plan: RepairPlan,
    fixes: Sequence[Fix],
    progress: Progress,
) -> FixProof:
    """Wait for the effect, then collect evidence again and run the checks of `mirror doctor`."""
    before = plan.evidence
    assert before is not None
    expected: list[ExpectedAnswer] = []
    for fix in fixes:
        changes = next(d.changes for d in plan.decisions if d.fix == fix.name)
        answers = fix.expected_answers(changes, before)
        expected += [answer for answer in answers if answer not in expected]
    unmet = coredns_reload.wait_for_answers(cluster, options, before, expected, progress)
    for _ in range(_MAX_LOOKS):
        after = collect(cluster, needs_for_proof(fixes), options, progress)
        findings = _find_unresolved(after, fixes)
        if find_harmed_nodes(findings, fixes) or all(f.check == _COVERED for f in findings):
            break
        # a lost DNS query does not mean that the fix failed: a real failure shows again next time
    return FixProof(
        failures=(*unmet.failures, *(finding.cause for finding in findings)),
        is_harmful=unmet.cluster_names_lost,
        harmed_nodes=find_harmed_nodes(findings, fixes),
        missing_nodes=tuple(
            node for finding in findings if finding.check == _COVERED for node in finding.nodes
        ),
        outcomes=_compare_programs(before, after),
        proved_nodes=unmet.proved_nodes,
        not_seen=unmet.not_seen,
    )


def find_startup_failures(
    cluster: Cluster, options: CollectOptions, fixes: Sequence[Fix], progress: Progress
) -> list[Finding]:
    """Start a pod on every node; return the findings that make these fixes roll back."""
    strict = [fix for fix in fixes if fix.rollback_on_failure]
    evidence = collect(cluster, needs_for_proof(strict), options, progress)
    findings = _find_unresolved(evidence, strict)
    return [finding for finding in findings if find_harmed_nodes([finding], strict)]


def needs_for_proof(fixes: Iterable[Fix]) -> frozenset[Need]:
    """Return the evidence that shows whether these fixes work."""
    ids = _resolved_checks(fixes)
    checks = [check for category in run.load_categories() for check in category.checks]
    return frozenset(need for check in checks if check.id in ids for need in check.needs)


def find_harmed_nodes(findings: Iterable[Finding], fixes: Iterable[Fix]) -> tuple[str, ...]:
    """Return the nodes with an error that makes one of these fixes roll back."""
    ids = _resolved_checks(fix for fix in fixes if fix.rollback_on_failure)
    errors = [f for f in findings if f.check in ids and f.severity is Severity.ERROR]
    return tuple(sorted({node for finding in errors for node in finding.nodes}))


def _resolved_checks(fixes: Iterable[Fix]) -> frozenset[str]:
    return frozenset(check for fix in fixes for check in fix.resolved_checks)


def _find_unresolved(evidence: Evidence, fixes: Iterable[Fix]) -> list[Finding]:
    ids = _resolved_checks(fixes)
    categories = [
        replace(category, checks=tuple(check for check in category.checks if check.id in ids))
        for category in run.load_categories()
    ]
    return list(run.judge(evidence, categories).findings)


def _compare_programs(before: Evidence, after: Evidence) -> tuple[ProgramOutcome, ...]:
    """Return how the same programs resolved the same names before and after the fix."""
    earlier, later = _read_programs(before), _read_programs(after)
    return tuple(
        ProgramOutcome(*key, before=outcome, after=later[key])
        for key, outcome in earlier.items()
        if key in later
    )


def _read_programs(evidence: Evidence) -> dict[tuple[str, str, str, str], str]:
    """Return (node, name, program, libc) → its message or outcome."""
    if isinstance(evidence.pod_dns, Unseen):
        return {}
    return {
        (node, name.name, program.program, program.libc): program.text or program.outcome
        for node, view in iter_probe_views(evidence)
        for name in view.names
        for program in name.programs
        if not program.asked.endswith(".") and program.outcome != "absent"
    }
