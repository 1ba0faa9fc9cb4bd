"""What the checks of `mirror doctor` conclude. Data only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from deploy.evidence.model import Evidence, Need


class Severity(StrEnum):
    """error: pods fail because of it. warning: some will. note: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


Scope: TypeAlias = Literal["workload", "namespace", "cluster", "nodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One way to end a cause. ``reach`` is what it touches, ``price`` what it costs."""

    text: str
    reach: Scope
    command: str = ""
    price: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Evidence that reads best in columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause, in words; what shows it; and the mends, the least invasive first.

    ``why`` explains in plain words why one program fails where another works.
    """

    check: str
    severity: Severity
    cause: str
    nodes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    why: str = ""
    table: Table | None = None
    mends: tuple[Remedy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One question. ``fact`` reads as a fact once it holds.

    ``look`` is pure and is called only when something of each of ``needs`` was seen. After a
    ``fatal`` check that finds something the rest of its category is skipped.
    """

    id: str
    fact: str
    needs: frozenset[Need]
    find: Callable[[Evidence], Iterable[Finding]]
    fatal: bool = False


CheckOutcome: TypeAlias = Literal["ok", "found", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check ended. ``gaps`` are the reasons why it, or a part of it, was not seen.

    A check that found nothing but could not see everything is skipped, never ok.
    """

    category: str
    check: str
    fact: str
    outcome: CheckOutcome
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All results in the order of the checks, and what was found."""

    context: str
    results: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        return tuple(one for one in self.results if one.outcome == "skipped")

    def worst_severity(self) -> Severity | None:
        """The severity that decides the exit code."""
        order = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        return next((one for one in order if one in {f.severity for f in self.findings}), None)
