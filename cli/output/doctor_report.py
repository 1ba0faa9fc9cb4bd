"""The report of `mirror doctor` on a screen of any width: facts, then findings with their mends."""

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
_MOVES = {"finds": "green", "stops": "red", "goes on": "", "not asked": "dim"}
_REACH = {
    "workload": "one workload",
    "namespace": "one namespace",
    "cluster": "the whole cluster",
    "nodes": "every node",
}
_NARROWEST, _WIDEST = 60, 100  # columns that prose is set in


def report(seen: DoctorReport, title: str, *, every_fact: bool = False) -> None:
    """Categories with a mark each and what does not hold, then every finding."""
    out.print(Text(title, style="bold"))
    numbers: dict[str, list[int]] = {}
    for number, finding in enumerate(seen.findings, start=1):
        numbers.setdefault(finding.check, []).append(number)
    severities = {one.check: one.severity for one in reversed(seen.findings)}
    for category, members in groupby(seen.results, key=lambda one: one.category):
        _category(category, list(members), severities, numbers, every_fact)
    _gaps(seen)
    told: dict[Remedy, str] = {}
    for number, finding in enumerate(seen.findings, start=1):
        out.print()
        _finding(finding, number, told)
    out.print()
    _summary(seen)


# -- facts ----------------------------------------------------------------------------------------


def _category(
    name: str,
    results: Sequence[CheckResult],
    severities: dict[str, Severity],
    numbers: dict[str, list[int]],
    every_fact: bool,
) -> None:
    held = [one for one in results if one.outcome == "ok"]
    found = {severities.get(one.check) for one in results}
    worst = next((one for one in Severity if one in found), None)
    if worst:
        mark, colour = _SEVERITIES[worst]
    else:
        mark, colour = _MARKS["ok" if len(held) == len(results) else "skipped"]
    words = f"{len(held)} of {len(results)} hold" if len(held) < len(results) else f"{len(held)}"
    if not held and all(one.outcome == "skipped" for one in results):
        words = "not seen"
    out.print(Text(f"{mark} ", style=colour), Text(f"{name:<10} "), Text(words, "dim"), sep="")
    for result in results:
        if result.outcome == "ok" and not every_fact:
            continue
        if words == "not seen" and not every_fact:
            continue
        mark, colour = _MARKS.get(result.outcome, ("", ""))
        if result.check in severities:
            mark, colour = _SEVERITIES[severities[result.check]]
        where = (
            f"  → {', '.join(map(str, numbers[result.check]))}" if result.check in numbers else ""
        )
        out.print(Text(f"    {mark} ", style=colour), end="")
        _paragraph(result.fact + where, first=0, indent=6)


def _gaps(seen: DoctorReport) -> None:
    """What could not be seen, each reason once."""
    reasons: dict[str, list[str]] = {}
    for result in seen.results:
        for gap in result.gaps:
            reasons.setdefault(gap, []).append(result.check)
    for reason, checks in reasons.items():
        first, *rest = reason.strip().splitlines()
        count = f" ({len(checks)} checks)" if checks[1:] else f" ({checks[0]})"
        _paragraph(f"– not seen{count}: {first}", first=2, indent=4, style="yellow")
        for line in rest:
            _paragraph(line, first=6, indent=6, style="dim")


# -- findings -------------------------------------------------------------------------------------


def _finding(finding: Finding, number: int, told: dict[Remedy, str]) -> None:
    mark, colour = _SEVERITIES[finding.severity]
    out.print(Text(f"{mark} {number}. ", style=f"bold {colour}"), end="")
    _paragraph(finding.cause, first=0, indent=5, style="bold")
    if finding.table:
        _table(finding.table)
    if finding.evidence:
        out.print(Text("   seen", style="dim"))
        for line in finding.evidence:
            _paragraph(f"· {line}", first=3, indent=5)
    if finding.why:
        out.print(Text("   why", style="dim"))
        _paragraph(finding.why)
    if finding.mends:
        out.print(Text("   mends, the least invasive first", style="dim"))
        for place, mend in enumerate(finding.mends, start=1):
            _mend(mend, place, told)
            told.setdefault(mend, f"{number}.{place}")
    out.print(Text(f"   {finding.check}", style="dim"))


def _table(table: Table) -> None:
    """Never cut: where the columns do not fit side by side each row takes two lines."""
    out.print(Text(f"   {table.title}", style="dim"))
    widths = [max(map(len, cells)) + 3 for cells in zip(table.columns, *table.rows, strict=True)]
    if sum(widths) <= max(out.width, _NARROWEST):
        for number, row in enumerate((table.columns, *table.rows)):
            line = Text("   ")
            for cell, width in zip(row, widths, strict=True):
                line.append(cell.ljust(width), style=_MOVES.get(cell, "") if number else "dim")
            line.rstrip()
            out.print(line)
        return
    for first, *others in table.rows:
        out.print(Text(f"   {first}"))
        line = Text("    ")
        for column, cell in zip(table.columns[1:], others, strict=True):
            told = Text(f" {column}: ", style="dim") + Text(cell, style=_MOVES.get(cell, ""))
            if len(line) > 4 and len(line) + len(told) + 2 > max(out.width, _NARROWEST):
                out.print(line)
                line = Text("    ")
            line += Text(" ·" if len(line) > 4 else "", style="dim") + told
        out.print(line)


def _mend(mend: Remedy, place: int, told: dict[Remedy, str]) -> None:
    text, *block = mend.text.splitlines()
    if mend in told and mend.command:
        out.print(Text(f"   {place}. "), end="")
        out.print(Text(mend.command, style="cyan") + Text(f"   as in {told[mend]}", style="dim"))
        return
    out.print(f"   {place}. ", end="", markup=False)
    _paragraph(f"{text} [{_REACH[mend.reach]}]", first=0, indent=6)
    for line in block:
        out.print(Text(f"          {line}", style="cyan"))
    if mend.command:
        out.print(Text(f"      $ {mend.command}", style="cyan"))
    if mend.price:
        _paragraph(f"price: {mend.price}", first=6, indent=6, style="dim")


def _summary(seen: DoctorReport) -> None:
    count = {one: [f.severity for f in seen.findings].count(one) for one in Severity}
    told = [f"{n} {one}{'s' if n > 1 else ''}" for one, n in count.items() if n]
    skipped = f"{len(seen.skipped)} not (wholly) seen" if seen.skipped else ""
    out.print(Text(", ".join([*told, skipped] if skipped else told) or "nothing found", "bold"))


def _paragraph(text: str, *, first: int = 3, indent: int = 3, style: str = "") -> None:
    """Wrapped prose; ``first`` and ``indent`` are columns before its first and other lines.

    With ``first`` 0 it goes on where a label of ``indent`` columns stands already.
    """
    width = min(max(out.width, _NARROWEST), _WIDEST)
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=" " * (first or indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    told = "\n".join(wrapped)
    out.print(Text(told if first else told[indent:], style=style))
