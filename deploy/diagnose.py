"""`mirror doctor`: evidence in, verdicts out. The checks are found by being there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import deploy.checks
from deploy import standing
from deploy.cluster.client import ApiRefusal, Cluster
from deploy.discover import parts
from deploy.evidence.collect import Look, collect
from deploy.evidence.model import (
    Check,
    Evidence,
    Finding,
    LeftOut,
    Need,
    Report,
    Result,
    Stage,
    Unseen,
)
from deploy.manifests.model import NAME
from mirror.core.errors import InputError, MirrorError
from mirror.core.progress import SILENT, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """The checks of one module of deploy/checks, in their order."""

    name: str
    checks: tuple[Check, ...]


def categories(wanted: Iterable[str] = (), *, stage: Stage = "after") -> tuple[Category, ...]:
    """The categories asked for (all, when none is) with their checks of this stage.

    Raises InputError for one that does not exist.
    """
    ranked = sorted(parts(deploy.checks), key=lambda part: part.RANK)
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
        Category(name=name, checks=tuple(one for one in known[name] if one.stage == stage))
        for name in chosen
    )


def observe(
    cluster: Cluster, asked: Iterable[Category], look: Look, progress: Progress = SILENT
) -> Evidence:
    """Everything that these categories need, collected once."""
    needs = frozenset(need for category in asked for one in category.checks for need in one.needs)
    evidence = collect(cluster, needs, look, progress)
    return _with_fixes(cluster, evidence) if Need.FIXES in needs else evidence


def _with_fixes(cluster: Cluster, evidence: Evidence) -> Evidence:
    """How the fixes stand is the ledger's word, not the cluster's own."""
    try:
        found = standing.seen(cluster)
    except MirrorError as broken:
        return replace(evidence, fixes=Unseen(reason=str(broken)))
    gaps = [
        LeftOut(need=Need.FIXES, reason=f"{one.fix}: {part.target}: {part.detail}")
        for one in found
        for part in one.unlike
        if part.state == "unknown"
    ]
    return replace(evidence, fixes=found, left_out=(*evidence.left_out, *gaps))


def judge(evidence: Evidence, asked: Iterable[Category]) -> Report:
    """Pure: the same evidence gives the same report, today or from a saved file."""
    results: list[Result] = []
    findings: list[Finding] = []
    for category in asked:
        for result, found in _judge_category(evidence, category):
            results.append(result)
            findings += found
    order = ("error", "warning", "note")
    findings.sort(key=lambda one: order.index(one.severity))
    return Report(context=evidence.context, results=tuple(results), findings=tuple(findings))


def probe_image(cluster: Cluster, namespace: str) -> str | None:
    """The image of the mirror that runs there: the nodes have it, and the probes are in it."""
    try:
        found = cluster.get("StatefulSet", NAME, namespace)
    except ApiRefusal:
        return None
    return found["spec"]["template"]["spec"]["containers"][0]["image"] if found else None


def diagnose(
    cluster: Cluster, asked: Iterable[Category], look: Look, progress: Progress = SILENT
) -> Report:
    """Observe and judge."""
    chosen = tuple(asked)
    return judge(observe(cluster, chosen, look, progress), chosen)


def _judge_category(
    evidence: Evidence, category: Category
) -> Iterator[tuple[Result, tuple[Finding, ...]]]:
    stopped = ""
    for check in category.checks:
        gaps = tuple(
            dict.fromkeys(gap for need in sorted(check.needs) for gap in evidence.gaps(need))
        )
        found: tuple[Finding, ...] = ()
        if stopped:
            gaps = (f"not looked at, because of {stopped}",)
        elif not any(evidence.wholly_unseen(need) for need in check.needs):
            found = tuple(check.look(evidence))
            if found and check.fatal:
                stopped = check.id
        result = Result(
            category=category.name,
            check=check.id,
            fact=check.fact,
            outcome="found" if found else "skipped" if gaps else "ok",
            gaps=gaps,
        )
        yield result, found
