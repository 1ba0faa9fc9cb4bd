"""What was concluded from a project's files, from which line, and what is unknown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from images.application_recipe import ApplicationRecipe
from mirror.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a project's file; ``number`` is 0 for the file as a whole."""

    file: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" if self.number else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """A value of the recipe (``key`` is its key there) and the line that it was read from."""

    key: str
    value: str
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """A line of a project's file that the image does not follow, and why."""

    line: Line
    text: str
    why: str

    def __str__(self) -> str:
        place = f"line {self.line.number}: " if self.line.number else ""
        return f"not taken from your {self.line.file}: {place}{self.text} — {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two statements of a project, or of a project and an option, that no image can satisfy."""

    what: str
    why: str
    next_step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectReading:
    """A project as its files describe it.

    ``unknown`` has a sentence for each thing that no file says, with what was looked at.
    """

    recipe: ApplicationRecipe
    conclusions: tuple[Conclusion, ...]
    not_taken: tuple[NotTaken, ...]
    unknown: tuple[str, ...]
    contradictions: tuple[Contradiction, ...]

    def check(self) -> None:
        """Raise InputError with the first contradiction."""
        for contradiction in self.contradictions:
            raise InputError(
                contradiction.what, why=contradiction.why, next_step=contradiction.next_step
            )


def find_line(path: Path, pattern: str, name: str) -> Line:
    """Return the first line of a text file that matches a regular expression at its start."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return Line(file=name)
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(pattern, line):
            return Line(file=name, number=number)
    return Line(file=name)


def shorten(text: str, length: int = 100) -> str:
    """Return a text on one line, cut to a length."""
    single = " ".join(text.split())
    return single if len(single) <= length else single[: length - 1] + "…"
