"""`mirror doctor`: evidence in, verdicts out. The checks are found by being there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import deploy.checks
from deploy import registry
from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.collect import CollectOptions, collect
from deploy.evidence.model import (
    CheckResult,
    CheckStage,
    DoctorCheck,
    DoctorReport,
    Evidence,
    EvidenceGap,
    Finding,
    Need,
    Unseen,
)
from deploy.extensions import load_extensions
from deploy.manifests.model import NAME
from mirror.core.errors import InputError, MirrorError
from mirror.core.progress import SILENT, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCategory:
    """The checks of one module of deploy/checks, in their order."""

    name: str
    checks: tuple[DoctorCheck, ...]


def load_categories(
    wanted: Iterable[str] = (), *, stage: CheckStage = "after"
) -> tuple[CheckCategory, ...]:
    """The categories asked for (all, when none is) with their checks of this stage.

    Raises InputError for one that does not exist.
    """
    ranked = sorted(load_extensions(deploy.checks), key=lambda part: part.RANK)
    known = {part.CATEGORY: part.CHECKS for part in ranked}
    chosen = tuple(wanted) or tuple(known)
    for name in chosen:
        if name not in known:
            raise InputError(
                f"no category {name!r}",
                why="there is: " + ", ".join(known),
                next_step="choose one of them with --category",
            )
    return tuple(
        CheckCategory(name=name, checks=tuple(one for one in known[name] if one.stage == stage))
        for name in chosen
    )


def observe(
    cluster: Cluster,
    asked: Iterable[CheckCategory],
    look: CollectOptions,
    progress: Progress = SILENT,
) -> Evidence:
    """Everything that these categories need, collected once."""
    needs = frozenset(need for category in asked for one in category.checks for need in one.needs)
    evidence = collect(cluster, needs, look, progress)
    return _with_fixes(cluster, evidence) if Need.FIXES in needs else evidence


def _with_fixes(cluster: Cluster, evidence: Evidence) -> Evidence:
    """How the fixes stand is the ledger's word, not the cluster's own."""
    try:
        found = registry.read_applied_fixes(cluster)
    except MirrorError as broken:
        return replace(evidence, fixes=Unseen(reason=str(broken)))
    gaps = [
        EvidenceGap(need=Need.FIXES, reason=f"{one.fix}: {part.target}: {part.detail}")
        for one in found
        for part in one.unlike
        if part.state == "unknown"
    ]
    return replace(evidence, fixes=found, left_out=(*evidence.left_out, *gaps))


def judge(evidence: Evidence, asked: Iterable[CheckCategory]) -> DoctorReport:
    """Pure: the same evidence gives the same report, today or from a saved file."""
    results: list[CheckResult] = []
    findings: list[Finding] = []
    for category in asked:
        for result, found in _judge_category(evidence, category):
            results.append(result)
            findings += found
    order = ("error", "warning", "note")
    findings.sort(key=lambda one: order.index(one.severity))
    return DoctorReport(context=evidence.context, results=tuple(results), findings=tuple(findings))


def find_probe_image(cluster: Cluster, namespace: str) -> str | None:
    """The image of the mirror that runs there: the nodes have it, and the probes are in it."""
    try:
        found = cluster.get("StatefulSet", NAME, namespace)
    except ApiError:
        return None
    return found["spec"]["template"]["spec"]["containers"][0]["image"] if found else None


def diagnose(
    cluster: Cluster,
    asked: Iterable[CheckCategory],
    look: CollectOptions,
    progress: Progress = SILENT,
) -> DoctorReport:
    """Observe and judge."""
    chosen = tuple(asked)
    return judge(observe(cluster, chosen, look, progress), chosen)


def _judge_category(
    evidence: Evidence, category: CheckCategory
) -> Iterator[tuple[CheckResult, tuple[Finding, ...]]]:
    stopped = ""
    for check in category.checks:
        gaps = tuple(
            dict.fromkeys(gap for need in sorted(check.needs) for gap in evidence.gaps(need))
        )
        found: tuple[Finding, ...] = ()
        if stopped:
            gaps = (f"not looked at, because of {stopped}",)
        elif not any(evidence.is_unseen(need) for need in check.needs):
            found = tuple(check.find(evidence))
            if found and check.fatal:
                stopped = check.id
        result = CheckResult(
            category=category.name,
            check=check.id,
            fact=check.fact,
            outcome="found" if found else "skipped" if gaps else "ok",
            gaps=gaps,
        )
        yield result, found
