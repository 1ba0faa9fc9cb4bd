"""Run a console script in this process, as its entry point does."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import click
import pytest

from cli import errors
from cli.commands.build_image import build_image
from cli.mirror import mirror

PROGRAMS: dict[str, click.Command] = {"mirror": mirror, "build-image": build_image}


class TypedTerminal(io.StringIO):
    """Standard input that is a terminal, with the lines that a user types."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def get_line(self, label: str) -> str:
        """Return the text after `why:` or `next:` with its further lines; empty without."""
        lines = self.err.splitlines()
        starts = [n for n, line in enumerate(lines) if line.startswith(f"  {label}: ")]
        if not starts:
            return ""
        text = lines[starts[-1]].removeprefix(f"  {label}: ")
        for line in lines[starts[-1] + 1 :]:
            if not line.startswith("       "):
                break
            text += "\n" + line.strip()
        return text


def run_command(
    monkeypatch: pytest.MonkeyPatch, *words: str, typed: str | None = None
) -> CommandResult:
    """Run a program; ``typed`` is what a user types at a terminal, None if there is none."""
    program, *arguments = words
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.argv", [program, *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO() if typed is None else TypedTerminal(typed))
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        errors.run(PROGRAMS[program], program)
    assert isinstance(end.value.code, int)
    return CommandResult(code=end.value.code, out=out.getvalue(), err=err.getvalue())
