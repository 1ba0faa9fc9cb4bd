"""Printing: tables, facts, JSON, YAML and live progress on the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import IO, Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.errors import use_color
from cli.options import OutputFormat
from mirror.core.codec import dump

_COLORS: Literal["auto"] | None = "auto" if use_color() else None
out = Console(highlight=False, soft_wrap=True, color_system=_COLORS)
err = Console(stderr=True, highlight=False, soft_wrap=True, color_system=_COLORS)


def document(value: Any, output: OutputFormat) -> None:
    """Print a result as JSON or YAML on stdout."""
    if output == "yaml":
        yaml_documents([dump(value)])
    else:
        click.echo(json.dumps(dump(value), indent=2, ensure_ascii=not _is_unicode(sys.stdout)))


def yaml_documents(objects: Sequence[Any], stream: IO[str] | None = None) -> None:
    """Print objects as YAML documents, on stdout by default."""
    from deploy.manifests.yaml_text import render_yaml

    stream = stream or sys.stdout
    stream.write(render_yaml(objects, unicode=_is_unicode(stream)))


def _is_unicode(stream: IO[str]) -> bool:
    return "utf" in (getattr(stream, "encoding", None) or "utf-8").lower()


def facts(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a title, then a line per name and value."""
    out.print(title, style="bold")
    for name, value in rows:
        out.print(f"  {name:<12} ", end="", style="dim")
        out.print(value, markup=False)


def prose(text: str, indent: str = "", style: str = "") -> None:
    """Print a sentence: one line for programs, wrapped at words on a terminal."""
    lines = [indent + text]
    if out.is_terminal:
        hanging = f"{indent}  "
        lines = wrap(text, out.width, initial_indent=indent, subsequent_indent=hanging) or lines
    for line in lines:
        out.print(Text(line, style=style))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    out.print(grid)


class Live:
    """Progress on stderr: a spinner line on a terminal, plain lines elsewhere."""

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
            description = f"{self._text}: {text}" if text else self._text
            self._bar.update(self._task, completed=done, total=total, description=description)

    def note(self, text: str) -> None:
        (self._bar.console if self._bar else err).print(f"  {text}", style="dim", markup=False)

    def close(self, failed: bool = False) -> None:
        """Print the line of the last step."""
        if self._text and self._bar is not None and self._task is not None:
            mark = "[red]✗[/]" if failed else "[green]✓[/]"
            seconds = time.monotonic() - self._since
            self._bar.console.print(mark, self._text, f"[dim]{seconds:.1f} s[/]")
            self._bar.update(self._task, visible=False)
        self._text = ""


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a spinner on a terminal while the block runs, and remove it."""
    if not err.is_terminal or err.is_dumb_terminal:
        yield
        return
    with err.status(text):
        yield


@contextmanager
def progress() -> Iterator[Live]:
    """Show live progress while the block runs."""
    if not err.is_terminal or err.is_dumb_terminal:
        yield Live(None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(20),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        live = Live(bar)
        try:
            yield live
        except BaseException:
            live.close(failed=True)
            raise
        live.close()
