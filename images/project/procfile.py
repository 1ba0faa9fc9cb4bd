"""Read the processes of a Procfile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from images.project.reading import Line, NotTaken, shorten
from images.project.shell import split_plain_command

PROCFILE_PORT = 8000  # what a platform would choose and give as $PORT
_PROCESS = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcfileProcess:
    """A process; ``uses_port`` is true if it listens at the port that $PORT names."""

    name: str
    argv: tuple[str, ...]
    uses_port: bool
    line: Line


def read_procfile(path: Path, name: str) -> tuple[list[ProcfileProcess], list[NotTaken]]:
    """Return the processes that run, and the lines that are none; `web` is first."""
    processes: list[ProcfileProcess] = []
    not_taken: list[NotTaken] = []
    if not path.is_file():
        return processes, not_taken
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, content in enumerate(text.splitlines(), start=1):
        line = Line(file=name, number=number)
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        match = _PROCESS.fullmatch(content.strip())
        if match is None:
            not_taken.append(NotTaken(line=line, text=shorten(content), why="not NAME: COMMAND"))
        elif match[1] == "release":
            why = "a step before a deployment, such as a migration, is no start: run it as a Job"
            not_taken.append(NotTaken(line=line, text=shorten(content), why=why))
        else:
            argv = split_plain_command(match[2]) or ("/bin/sh", "-c", match[2].strip())
            uses_port = re.search(r"\$\{?PORT\b", match[2]) is not None
            processes.append(
                ProcfileProcess(name=match[1], argv=argv, uses_port=uses_port, line=line)
            )
    return sorted(processes, key=lambda process: process.name != "web"), not_taken
