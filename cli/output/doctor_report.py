"""The report of `mirror doctor` for any screen width: facts, then findings with remedies."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.text import Text

from cli.output.terminal import out
from deploy.doctor.compare import ReportChanges
from deploy.findings.model import (
    Certainty,
    CheckResult,
    DoctorReport,
    Finding,
    Remedy,
    Severity,
    Table,
)

_MARKS = {"ok": ("✓", "green"), "skipped": ("–", "yellow")}
_SEVERITIES = {
    Severity.ERROR: ("✗", "red"),
    Severity.WARNING: ("!", "yellow"),
    Severity.NOTE: ("i", "cyan"),
}
_CELL_STYLES = {"finds": "green", "stops": "red", "goes on": "", "not asked": "dim"}
_SCOPES = {
    "workload": "one workload",
    "namespace": "one namespace",
    "cluster": "the whole cluster",
    "nodes": "every node",
}
_CERTAINTIES = {
    Certainty.SEEN: "seen: a program of this run, a log or the state of a container shows it",
    Certainty.READ: "read: the cluster's objects and configuration say so; it was not tried",
    Certainty.INFERRED: "inferred: it follows from other facts; it was not tried",
}
_NOT_OBSERVED = "not observed"
_MIN_WIDTH, _MAX_WIDTH = 60, 100  # columns of prose


def print_report(report: DoctorReport, title: str, *, every_fact: bool = False) -> None:
    """Print each category with the checks that did not pass, then every finding."""
    out.print(Text(title, style="bold"))
    found: dict[str, list[tuple[int, Finding]]] = {}
    for number, finding in enumerate(report.findings, start=1):
        found.setdefault(finding.check, []).append((number, finding))
    for category, members in groupby(report.results, key=lambda result: result.category):
        _print_category(category, list(members), found, every_fact)
    _print_gaps(report)
    for line in report.passed_over:
        _paragraph(f"– {line}", first=2, indent=4, style="dim")
    printed: dict[Remedy, str] = {}
    for number, finding in enumerate(report.findings, start=1):
        out.print()
        _print_finding(finding, number, printed)
    out.print()
    print_summary(report)


def print_changes(changes: ReportChanges, report: DoctorReport, time: str) -> None:
    """Print the findings that are gone and those that are new, with their numbers in the report."""
    for finding in changes.gone:
        _print_line(*_MARKS["ok"], f"{time} gone: {_shorten(finding.cause)}")
    printed: dict[Remedy, str] = {}
    for finding in changes.new:
        out.print(Text(f"{time} new:", style="dim"))
        _print_finding(finding, report.findings.index(finding) + 1, printed)


# -- facts ----------------------------------------------------------------------------------------


def _print_category(
    name: str,
    results: Sequence[CheckResult],
    found: Mapping[str, Sequence[tuple[int, Finding]]],
    every_fact: bool,
) -> None:
    holding = [result for result in results if result.outcome == "ok"]
    present = {finding.severity for result in results for _, finding in found.get(result.check, ())}
    worst = next((severity for severity in Severity if severity in present), None)
    if worst:
        mark, color = _SEVERITIES[worst]
    else:
        mark, color = _MARKS["ok" if len(holding) == len(results) else "skipped"]
    summary = f"{len(holding)}"
    if len(holding) < len(results):
        summary = f"{len(holding)} of {len(results)} hold"
    if not holding and all(result.outcome == "skipped" for result in results):
        summary = _NOT_OBSERVED
    out.print(Text(f"{mark} ", style=color), Text(f"{name:<10} "), Text(summary, "dim"), sep="")
    for result in results:
        if result.check in found:
            for number, finding in found[result.check]:
                _print_line(*_SEVERITIES[finding.severity], f"{number}. {_shorten(finding.cause)}")
        elif every_fact or (result.outcome != "ok" and summary != _NOT_OBSERVED):
            prefix = f"{_NOT_OBSERVED}: " if result.outcome == "skipped" else ""
            _print_line(*_MARKS[result.outcome], f"{prefix}{result.fact}")


def _print_line(mark: str, color: str, text: str) -> None:
    out.print(Text(f"    {mark} ", style=color), end="")
    _paragraph(text, first=0, indent=6)


def _shorten(cause: str) -> str:
    """Return the first clause of a cause: the finding itself has all of it."""
    return cause.partition(": ")[0]


def _print_gaps(report: DoctorReport) -> None:
    """Print what could not be observed, each reason once."""
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        for gap in result.gaps:
            reasons.setdefault(gap, []).append(result.check)
    for reason, checks in reasons.items():
        first, *rest = reason.strip().splitlines()
        count = f" ({len(checks)} checks)" if checks[1:] else f" ({checks[0]})"
        _paragraph(f"– {_NOT_OBSERVED}{count}: {first}", first=2, indent=4, style="yellow")
        for line in rest:
            _paragraph(line, first=6, indent=6, style="dim")


# -- findings -------------------------------------------------------------------------------------


def _print_finding(finding: Finding, number: int, printed: dict[Remedy, str]) -> None:
    mark, color = _SEVERITIES[finding.severity]
    out.print(Text(f"{mark} {number}. ", style=f"bold {color}"), end="")
    _paragraph(finding.cause, first=0, indent=5, style="bold")
    if finding.certainty:
        _paragraph(_CERTAINTIES[finding.certainty], style="dim")
    if finding.table:
        _print_table(finding.table)
    if finding.evidence:
        out.print(Text("   evidence", style="dim"))
        for line in finding.evidence:
            _paragraph(f"· {line}", first=3, indent=5)
    if finding.why:
        out.print(Text("   why", style="dim"))
        _paragraph(finding.why)
    if finding.remedies:
        out.print(Text("   remedies, least invasive first", style="dim"))
        for position, remedy in enumerate(finding.remedies, start=1):
            _print_remedy(remedy, position, printed)
            printed.setdefault(remedy, f"{number}.{position}")
    out.print(Text(f"   mirror doctor --explain {finding.check}", style="dim"))


def _print_table(table: Table) -> None:
    """Print a table; if its columns do not fit side by side, each row takes two lines."""
    out.print(Text(f"   {table.title}", style="dim"))
    widths = [max(map(len, cells)) + 3 for cells in zip(table.columns, *table.rows, strict=True)]
    if sum(widths) <= max(out.width, _MIN_WIDTH):
        for number, row in enumerate((table.columns, *table.rows)):
            line = Text("   ")
            for cell, width in zip(row, widths, strict=True):
                line.append(
                    cell.ljust(width), style=_CELL_STYLES.get(cell, "") if number else "dim"
                )
            line.rstrip()
            out.print(line)
        return
    for first, *others in table.rows:
        out.print(Text(f"   {first}"))
        line = Text("    ")
        for column, cell in zip(table.columns[1:], others, strict=True):
            entry = Text(f" {column}: ", style="dim") + Text(cell, style=_CELL_STYLES.get(cell, ""))
            if len(line) > 4 and len(line) + len(entry) + 2 > max(out.width, _MIN_WIDTH):
                out.print(line)
                line = Text("    ")
            line += Text(" ·" if len(line) > 4 else "", style="dim") + entry
        out.print(line)


def _print_remedy(remedy: Remedy, position: int, printed: dict[Remedy, str]) -> None:
    text, *block = remedy.text.splitlines()
    if remedy in printed and remedy.command:
        out.print(Text(f"   {position}. "), end="")
        reference = Text(f"   as in {printed[remedy]}", style="dim")
        out.print(Text(remedy.command, style="cyan") + reference)
        return
    out.print(f"   {position}. ", end="", markup=False)
    limit = "; not enough alone" if remedy.insufficient else ""
    _paragraph(f"{text} [{_SCOPES[remedy.scope]}{limit}]", first=0, indent=6)
    for line in block:
        out.print(Text(f"          {line}", style="cyan"))
    if remedy.command:
        out.print(Text(f"      $ {remedy.command}", style="cyan"))
    if remedy.side_effect:
        _paragraph(f"side effect: {remedy.side_effect}", first=6, indent=6, style="dim")


def print_summary(report: DoctorReport) -> None:
    """Print the verdict, and the one command to run next."""
    found = [finding.severity for finding in report.findings]
    counts = [(severity, found.count(severity)) for severity in Severity]
    parts = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts if count]
    if report.skipped:
        parts.append(f"{len(report.skipped)} not (fully) observed")
    out.print(Text(", ".join(parts) or "nothing found", "bold"))
    if report.findings:
        worst = report.findings[0]
        verdict = {
            Severity.ERROR: "pods fail",
            Severity.WARNING: "pods may fail",
            Severity.NOTE: "nothing makes pods fail",
        }[worst.severity]
        _paragraph(f"verdict: {verdict}: {_shorten(worst.cause)}", first=0, indent=0)
    elif not report.skipped:
        _paragraph("verdict: nothing here keeps packages from pods", first=0, indent=0)
    if report.next_command:
        out.print(Text("next: ") + Text(report.next_command, style="cyan"))


def _paragraph(text: str, *, first: int = 3, indent: int = 3, style: str = "") -> None:
    """Print wrapped prose; ``first`` and ``indent`` indent its first and its other lines.

    With ``first`` 0 the text continues a line on which a label of ``indent`` columns is printed.
    """
    width = min(max(out.width, _MIN_WIDTH), _MAX_WIDTH)
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=" " * (first or indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    block = "\n".join(wrapped)
    out.print(Text(block if first else block[indent:], style=style))
