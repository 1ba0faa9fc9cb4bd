"""The report of `mirror doctor` for any screen width: facts, then findings with remedies."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from cli.output.terminal import out
from deploy.findings.model import CheckResult, DoctorReport, Finding, Remedy, Severity, Table

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
_NOT_OBSERVED = "not observed"
_MIN_WIDTH, _MAX_WIDTH = 60, 100  # columns of prose


def print_report(report: DoctorReport, title: str, *, every_fact: bool = False) -> None:
    """Print each category with the checks that did not pass, then every finding."""
    out.print(Text(title, style="bold"))
    numbers: dict[str, list[int]] = {}
    for number, finding in enumerate(report.findings, start=1):
        numbers.setdefault(finding.check, []).append(number)
    severities = {finding.check: finding.severity for finding in reversed(report.findings)}
    for category, members in groupby(report.results, key=lambda result: result.category):
        _print_category(category, list(members), severities, numbers, every_fact)
    _print_gaps(report)
    printed: dict[Remedy, str] = {}
    for number, finding in enumerate(report.findings, start=1):
        out.print()
        _print_finding(finding, number, printed)
    out.print()
    _print_summary(report)


# -- facts ----------------------------------------------------------------------------------------


def _print_category(
    name: str,
    results: Sequence[CheckResult],
    severities: dict[str, Severity],
    numbers: dict[str, list[int]],
    every_fact: bool,
) -> None:
    holding = [result for result in results if result.outcome == "ok"]
    present = {severities.get(result.check) for result in results}
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
        if result.outcome == "ok" and not every_fact:
            continue
        if summary == _NOT_OBSERVED and not every_fact:
            continue
        mark, color = _MARKS.get(result.outcome, ("", ""))
        if result.check in severities:
            mark, color = _SEVERITIES[severities[result.check]]
        where = (
            f"  → {', '.join(map(str, numbers[result.check]))}" if result.check in numbers else ""
        )
        out.print(Text(f"    {mark} ", style=color), end="")
        _paragraph(result.fact + where, first=0, indent=6)


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
    out.print(Text(f"   {finding.check}", style="dim"))


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
    _paragraph(f"{text} [{_SCOPES[remedy.scope]}]", first=0, indent=6)
    for line in block:
        out.print(Text(f"          {line}", style="cyan"))
    if remedy.command:
        out.print(Text(f"      $ {remedy.command}", style="cyan"))
    if remedy.side_effect:
        _paragraph(f"side effect: {remedy.side_effect}", first=6, indent=6, style="dim")


def _print_summary(report: DoctorReport) -> None:
    found = [finding.severity for finding in report.findings]
    counts = [(severity, found.count(severity)) for severity in Severity]
    parts = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts if count]
    if report.skipped:
        parts.append(f"{len(report.skipped)} not (fully) observed")
    out.print(Text(", ".join(parts) or "nothing found", "bold"))


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
