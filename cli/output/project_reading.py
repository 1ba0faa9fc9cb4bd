"""Print what was concluded from a project's files, and what is unknown."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli.output import terminal
from images.project.reading import Conclusion, ProjectReading


def print_reading(
    title: str, reading: ProjectReading, lock: str, options: Sequence[tuple[str, str]]
) -> None:
    """Print each conclusion with its line, then what is not taken, unknown and contradictory.

    ``lock`` is a sentence about the lock; ``options`` are name and value of what the command's own
    options change.
    """
    rows = [(c.key, f"{c.value}  ({c.line})") for c in _sort(reading.conclusions)]
    rows += [(name, f"{value}  (given to this command)") for name, value in options]
    rows.append(("lock", lock))
    terminal.facts(title, rows)
    for heading, lines in (
        ("not taken", [f"{item.line}: {item.text} — {item.why}" for item in reading.not_taken]),
        ("unknown", list(reading.unknown)),
        ("contradictions", [f"{item.what}: {item.why}" for item in reading.contradictions]),
    ):
        if lines:
            click.echo(f"{heading}:")
            for line in lines:
                terminal.prose(line, indent="  ")


def _sort(conclusions: Sequence[Conclusion]) -> list[Conclusion]:
    """Return the conclusions of one key side by side, keys in the order they were concluded."""
    order = {key: number for number, key in enumerate(dict.fromkeys(c.key for c in conclusions))}
    return sorted(conclusions, key=lambda conclusion: order[conclusion.key])
