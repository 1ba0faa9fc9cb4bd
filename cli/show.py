"""What a person sees: tables, JSON, YAML and live progress. The only place that knows rich."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from cli.options import OutputFormat
from deploy.evidence.model import Finding, Mend, Report, Severity

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def plain(value: Any) -> Any:
    """Dataclasses, paths, addresses and enums as JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, IPv4Address | Path):
        return str(value)
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    return value


def document(value: Any, output: OutputFormat) -> None:
    """Print a result as JSON or YAML on stdout."""
    if output == "yaml":
        yaml_documents([plain(value)])
    else:
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def yaml_documents(objects: Sequence[Any]) -> None:
    """Print objects as a stream of YAML documents."""
    writer = YAML()
    writer.default_flow_style = False
    writer.indent(mapping=2, sequence=4, offset=2)
    for number, obj in enumerate(objects):
        if number:
            click.echo("---")
        writer.dump(obj, sys.stdout)


def facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Name and value, one a line, under a title."""
    out.print(title, style="bold")
    for name, value in rows:
        out.print(f"  {name:<11} ", end="", style="dim")
        out.print(value, markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    out.print(drawn)


class _Live:
    """Steps on stderr: a spinner line in a terminal, plain lines elsewhere."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False) if bar else None
        self._text = ""
        self._since = time.monotonic()

    def step(self, text: str) -> None:
        self.close()
        self._text, self._since = text, time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, description=text, total=None, visible=True)
        else:
            click.echo(f"… {text}", err=True)

    def count(self, done: int, total: int, text: str = "") -> None:
        if self._bar is not None and self._task is not None:
            words = f"{self._text}: {text}" if text else self._text
            self._bar.update(self._task, completed=done, total=total, description=words)

    def note(self, text: str) -> None:
        (self._bar.console if self._bar else err).print(f"  {text}", style="dim", markup=False)

    def close(self, failed: bool = False) -> None:
        """Leave the last step's line on the screen."""
        if self._text and self._bar is not None and self._task is not None:
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            took = time.monotonic() - self._since
            self._bar.console.print(mark, self._text, f"[dim]{took:.1f} s[/]")
            self._bar.update(self._task, visible=False)
        self._text = ""


@contextmanager
def progress() -> Iterator[_Live]:
    """Live progress for the length of a block."""
    if not err.is_terminal:
        yield _Live(None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(20),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        live = _Live(bar)
        try:
            yield live
        except BaseException:
            live.close(failed=True)
            raise
        live.close()


# -- the report of `mirror doctor` --------------------------------------------------------------

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


def report(seen: Report) -> None:
    """Facts with a mark each, then every finding with its cause, evidence and mends."""
    worst = {one.check: one.severity for one in reversed(seen.findings)}
    category = None
    for result in seen.results:
        if result.category != category:
            category = result.category
            out.print(Text(category, style="bold"))
        known = _SEVERITIES[worst[result.check]] if result.check in worst else None
        mark, colour = known or _MARKS[result.outcome]
        out.print(Text(f"  {mark} ", style=colour) + Text(result.fact, style=""))
    _gaps(seen)
    for number, finding in enumerate(seen.findings, start=1):
        out.print()
        _finding(finding, number)
    out.print()
    count = {one: [f.severity for f in seen.findings].count(one) for one in Severity}
    told = [f"{n} {one}{'s' if n > 1 else ''}" for one, n in count.items() if n]
    skipped = f"{len(seen.skipped)} not (wholly) seen" if seen.skipped else ""
    out.print(Text(", ".join([*told, skipped] if skipped else told) or "nothing found", "bold"))


def _gaps(seen: Report) -> None:
    """What could not be seen, each reason once."""
    reasons: dict[str, int] = {}
    for result in seen.results:
        for gap in result.gaps:
            reasons[gap] = reasons.get(gap, 0) + 1
    for reason, times in reasons.items():
        first, *rest = reason.strip().splitlines()
        checks = f" ({times} checks)" if times > 1 else ""
        out.print(Text(f"  – not seen{checks}: {first}", style="yellow"))
        for line in rest:
            out.print(Text(f"      {line}", style="dim"))


def _finding(finding: Finding, number: int) -> None:
    mark, colour = _SEVERITIES[finding.severity]
    out.print(Text(f"{mark} {number}. ", style=f"bold {colour}"), end="")
    _paragraph(finding.cause, first=0, style="bold")
    if finding.table:
        out.print(Text(f"\n   {finding.table.title}", style="dim"))
        _columns(finding.table.columns, finding.table.rows)
    if finding.evidence:
        out.print(Text("\n   seen", style="dim"))
        for line in finding.evidence:
            out.print(Text(f"   · {line}"))
    if finding.why:
        out.print(Text("\n   why", style="dim"))
        _paragraph(finding.why)
    if finding.mends:
        out.print(Text("\n   mends, the least invasive first", style="dim"))
        for place, mend in enumerate(finding.mends, start=1):
            _mend(mend, place)


def _columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that is never cut: names of the search list are to be read to their ends."""
    widths = [max(map(len, cells)) + 3 for cells in zip(columns, *rows, strict=True)]
    for number, row in enumerate((columns, *rows)):
        line = Text("   ")
        for cell, width in zip(row, widths, strict=True):
            line.append(cell.ljust(width), style=_MOVES.get(cell, "") if number else "dim")
        line.rstrip()
        out.print(line)


def _mend(mend: Mend, place: int) -> None:
    text, *block = mend.text.splitlines()
    out.print(f"   {place}. ", end="", markup=False)
    _paragraph(f"{text} [{_REACH[mend.reach]}]", first=0, indent=6)
    for line in block:
        out.print(Text(f"          {line}", style="cyan"))
    if mend.command:
        out.print(Text(f"      $ {mend.command}", style="cyan"))
    if mend.price:
        _paragraph(f"price: {mend.price}", first=6, indent=6, style="dim")


def _paragraph(text: str, *, first: int = 3, indent: int = 3, style: str = "") -> None:
    """Wrapped prose; ``first`` and ``indent`` are columns before its first and other lines."""
    width = min(max(out.width, 60), 100)
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
