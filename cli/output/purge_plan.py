"""What a purge deletes, before it is confirmed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from cli.options import check_can_ask
from cli.output import terminal
from mirror.store.inventory import PrivateProject

_MAX_ROWS = 20


def print_purge(
    title: str,
    rows: Iterable[tuple[str, str]],
    private: Sequence[PrivateProject],
    unlisted: str = "",
) -> None:
    """Print what goes, the private files by name: nobody can fetch them again."""
    terminal.facts(title, list(rows))
    files = [name for project in private for name in project.files]
    reserved = [project.name for project in private if not project.files]
    if files:
        click.echo("\nprivate files, which no upstream has:")
        for name in files[:_MAX_ROWS]:
            click.echo(f"  {name}")
        if files[_MAX_ROWS:]:
            click.echo(f"  and {len(files) - _MAX_ROWS} more (-o json lists all)")
    if reserved:
        terminal.prose(f"private names that become public: {', '.join(reserved)}")
    if unlisted:
        terminal.prose(f"private files cannot be listed: {unlisted}")


def confirm_purge(*, yes: bool) -> None:
    """Ask whether to delete. Raises click.Abort if the user declines."""
    if not yes:
        check_can_ask("this deletes packages and secrets", yes=yes)
        click.confirm("\ndelete this?", abort=True, err=True)
