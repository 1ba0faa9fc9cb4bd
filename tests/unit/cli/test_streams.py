"""A command ends its work when the reader of its output (head, less) has gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests import REPOSITORY

COMMAND = """\
import sys
from pathlib import Path
import click
from cli import errors
from cli.output import terminal
from cli.streams import has_reader
from mirror.core.errors import WaitTimeout

@click.command()
@click.argument("folder", type=Path)
def work(folder):
    with terminal.progress() as progress:
        for number in range(5000):
            click.echo(f"line {number}: {'x' * 80}")
            terminal.out.print("a row of a table")
            progress.step(f"step {number}")
            progress.note("a note")
    (folder / "done").write_text(f"has a reader: {has_reader()}")
    raise WaitTimeout("it took too long", next_step="mirror up")

errors.run(work, "mirror")
"""


def run_and_cut_off(folder: Path, stream: Literal["stdout", "stderr"]) -> tuple[int, str]:
    """Read one line of a stream, then close it; return the exit code and the other stream."""
    argv = (sys.executable, "-c", COMMAND, str(folder))
    other = folder / "other.txt"
    with other.open("w") as file:
        out, err = (subprocess.PIPE, file) if stream == "stdout" else (file, subprocess.PIPE)
        with subprocess.Popen(argv, cwd=REPOSITORY, text=True, stdout=out, stderr=err) as process:
            output = getattr(process, stream)
            assert output.readline()
            output.close()
            code = process.wait(timeout=120)
    return code, other.read_text()


def test_standard_output_is_cut_off(tmp_path: Path) -> None:
    code, errors = run_and_cut_off(tmp_path, "stdout")
    assert (tmp_path / "done").read_text() == "has a reader: False"
    assert code == 4, "the exit code is the command's"
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors
    assert errors.endswith("error: it took too long\n  next: mirror up\n")
    assert errors.count("… step ") == 5000


def test_progress_is_cut_off(tmp_path: Path) -> None:
    code, output = run_and_cut_off(tmp_path, "stderr")
    assert (tmp_path / "done").read_text() == "has a reader: True"
    assert code == 4
    assert output.count("line ") == 5000


@pytest.mark.parametrize(("redirection", "code"), [("", 0), (">&-", 0), (">/dev/full", 3)])
def test_closed_and_full_outputs(redirection: str, code: int) -> None:
    program = "from cli.mirror import main; main()"
    script = f"exec '{sys.executable}' -c '{program}' --version {redirection}"
    done = subprocess.run(
        ("sh", "-c", script), cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
