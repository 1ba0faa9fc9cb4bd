"""Data classes of checks, and of the findings that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Literal, TypeAlias

from deploy.evidence.model import Evidence, Need
from mirror.core.codec import json_key


class Severity(StrEnum):
    """Worst first. error: pods fail now; warning: some pods will fail; note: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Certainty(StrEnum):
    """How sure a finding is.

    seen: a program of this run met it, or a container's log or state shows it. read: objects and
    configuration say so, nothing was tried. inferred: it follows from other facts, or is to come.
    """

    SEEN = "seen"
    READ = "read"
    INFERRED = "inferred"


SEEN, READ, INFERRED = Certainty

Scope: TypeAlias = Literal["workload", "namespace", "cluster", "nodes"]


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to fix a cause. ``scope`` says what it changes, ``side_effect`` what it costs.

    ``insufficient``: tried here, programs still fail with it alone; other findings say why.
    """

    text: str
    scope: Scope = field(metadata=json_key("reach"))
    command: str = ""
    _: KW_ONLY
    side_effect: str = field(default="", metadata=json_key("price"))
    insufficient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Evidence that is shown in columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause, the evidence for it, and its remedies.

    Remedies that suffice come first, and of these the least invasive. ``why`` explains how the
    cause makes programs fail, and why some programs are not affected. ``check`` is the id of the
    check that found it; the runner sets it, and ``certainty`` if it is None. Checks create findings
    with `error`, `warning` and `note`, or with `report` if the severity depends on the evidence.
    """

    check: str = ""
    severity: Severity
    certainty: Certainty | None = None
    cause: str
    nodes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    why: str = ""
    table: Table | None = None
    remedies: tuple[Remedy, ...] = field(default=(), metadata=json_key("mends"))


def report(
    severity: Severity,
    cause: str,
    *remedies: Remedy,
    nodes: Iterable[str] = (),
    evidence: Iterable[str] = (),
    why: str = "",
    table: Table | None = None,
    certainty: Certainty | None = None,
) -> Finding:
    """Return a Finding, without the check that found it."""
    return Finding(
        severity=severity,
        cause=cause,
        nodes=tuple(nodes),
        evidence=tuple(evidence),
        why=why,
        table=table,
        remedies=remedies,
        certainty=certainty,
    )


error = partial(report, Severity.ERROR)
warning = partial(report, Severity.WARNING)
note = partial(report, Severity.NOTE)

Find: TypeAlias = Callable[[Evidence], Iterable[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One question about the evidence. ``fact`` is the statement that is true if it holds.

    ``find`` is pure. It is called only if some of the evidence of every need was seen. Its findings
    have this ``certainty``, unless they say another. ``also`` are subjects that it reads if they
    were seen.
    """

    id: str
    fact: str
    certainty: Certainty
    needs: frozenset[Need]
    find: Find
    also: frozenset[Need] = frozenset()


def check(
    check_id: str, fact: str, certainty: Certainty, *needs: Need, also: Iterable[Need] = ()
) -> Callable[[Find], DoctorCheck]:
    """Return a decorator that makes a function the ``find`` of a check."""
    return lambda find: DoctorCheck(
        id=check_id,
        fact=fact,
        certainty=certainty,
        needs=frozenset(needs),
        find=find,
        also=frozenset(also),
    )


CheckOutcome: TypeAlias = Literal["ok", "found", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome of one check. ``gaps`` says why evidence for it, or a part of it, was not seen.

    A check that finds nothing but did not see everything is "skipped", never "ok".
    """

    category: str
    check: str
    fact: str
    outcome: CheckOutcome
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All results in the order of the checks, and all findings, the worst first.

    ``next_command`` is the one to run first; empty if nothing was found. ``passed_over`` names what
    was left out on purpose, such as nodes of another system.
    """

    context: str
    results: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    next_command: str = field(default="", metadata=json_key("next"))
    passed_over: tuple[str, ...] = ()

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        """The checks that did not see everything."""
        return tuple(result for result in self.results if result.outcome == "skipped")
