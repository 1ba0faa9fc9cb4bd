"""`mirror doctor`: collect evidence, run the checks over it, report the findings.

`observe` is the only function here that talks to the cluster. `judge` is pure, so that a saved
file of evidence gives the same report as the cluster it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import deploy.checks
from deploy import fix_registry
from deploy.cluster.client import Cluster
from deploy.doctor.next_command import choose_next_command
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.model import Evidence, EvidenceGap, Need
from deploy.evidence.unseen import Unseen
from deploy.extensions import load_extensions
from deploy.findings.model import CheckResult, DoctorCheck, DoctorReport, Finding, Severity
from mirror.core.errors import InputError, MirrorError
from mirror.core.progress import SILENT, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCategory:
    """The checks of one module of deploy/checks, in their order."""

    name: str
    checks: tuple[DoctorCheck, ...]


def load_categories(names: Iterable[str] = ()) -> tuple[CheckCategory, ...]:
    """Return the named categories, or all of them in the order of the report.

    Raises InputError for a name that does not exist.
    """
    modules = sorted(load_extensions(deploy.checks), key=lambda module: module.RANK)
    known = {
        module.CATEGORY: CheckCategory(name=module.CATEGORY, checks=module.CHECKS)
        for module in modules
    }
    selected = tuple(names) or tuple(known)
    for name in selected:
        if name not in known:
            raise InputError(
                f"no category {name!r}",
                why="the categories are: " + ", ".join(known),
                next_step="choose one of them with --category",
            )
    return tuple(known[name] for name in selected)


def observe(
    cluster: Cluster,
    categories: Iterable[CheckCategory],
    options: CollectOptions,
    progress: Progress = SILENT,
) -> Evidence:
    """Collect everything that these categories need, each subject once."""
    needs = frozenset(
        need
        for category in categories
        for check in category.checks
        for need in check.needs | check.also
    )
    evidence = collect(cluster, needs, options, progress)
    return _add_fixes(cluster, evidence) if Need.FIXES in needs else evidence


def judge(evidence: Evidence, categories: Iterable[CheckCategory]) -> DoctorReport:
    """Run the checks over the evidence. Pure; findings are sorted by severity, worst first."""
    results: list[CheckResult] = []
    findings: list[Finding] = []
    for category in categories:
        for check in category.checks:
            gaps = dict.fromkeys(gap for need in sorted(check.needs) for gap in evidence.gaps(need))
            found: list[Finding] = []
            if not any(evidence.is_unseen(need) for need in check.needs):
                found = [
                    replace(finding, check=check.id, certainty=finding.certainty or check.certainty)
                    for finding in check.find(evidence)
                ]
            findings += found
            result = CheckResult(
                category=category.name,
                check=check.id,
                fact=check.fact,
                outcome="found" if found else "skipped" if gaps else "ok",
                gaps=tuple(gaps),
            )
            results.append(result)
    order = tuple(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return DoctorReport(
        context=evidence.context,
        results=tuple(results),
        findings=tuple(findings),
        next_command=choose_next_command(findings, evidence),
        passed_over=tuple(gap.reason for gap in evidence.left_out if gap.expected),
    )


def _add_fixes(cluster: Cluster, evidence: Evidence) -> Evidence:
    """Add the state of the fixes, which only the ledger knows."""
    try:
        statuses = fix_registry.read_applied_fixes(cluster)
    except MirrorError as error:
        return replace(evidence, fixes=Unseen(reason=str(error)))
    gaps = [
        EvidenceGap(need=Need.FIXES, reason=f"{status.fix}: {target.target}: {target.detail}")
        for status in statuses
        for target in status.targets
        if target.state == "unknown"
    ]
    return replace(evidence, fixes=statuses, left_out=(*evidence.left_out, *gaps))
