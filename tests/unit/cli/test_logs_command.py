"""`mirror logs`: the last lines, and with -f the new ones until nobody reads them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.commands.logs import find_new_lines
from tests import REPOSITORY
from tests.unit.cli.run_command import run_command

PROGRAM = "from cli.mirror import main; main()"


@pytest.mark.parametrize(
    ("before", "lines", "expected"),
    [
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abcd", "cdef", "ef"),  # only the last lines were read
        ("abcd", "xy", "xy"),  # after a restart
        ("ab", "", ""),
        ("aa", "aaa", "a"),
    ],
)
def test_new_lines(before: str, lines: str, expected: str) -> None:
    assert list(find_new_lines(list(before), list(lines))) == list(expected)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a local mirror's logs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "pypi-mirror"
    folder.mkdir()
    (folder / "devpi.log").write_text("one\ntwo\nthree\n")
    (folder / "nginx.log").write_text("start\n")
    return folder


def test_the_last_lines_of_each_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_command(monkeypatch, "mirror", "logs", "--local", "--tail", "2")
    assert done.out == "[devpi] two\n[devpi] three\n[nginx] start\n"
    done = run_command(monkeypatch, "mirror", "logs", "--local", "nginx")
    assert done.out == "[nginx] start\n"


@contextmanager
def follow(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `mirror logs --local --follow` until the end of the block."""
    argv = (sys.executable, "-c", PROGRAM, "logs", "--local", "--follow", *words)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=REPOSITORY, text=True, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def read_line_of_nginx(folder: Path, process: subprocess.Popen[str]) -> str:
    """Wait until the logs were read again."""
    with (folder / "nginx.log").open("a") as log:
        log.write("served\n")
    return read_line(process)


def test_follows_until_interrupted(folder: Path) -> None:
    with follow("--tail", "1") as process:
        assert read_line(process) == "[devpi] three\n"
        assert read_line(process) == "[nginx] start\n"
        with (folder / "devpi.log").open("a") as log:
            log.write("four\n")
        assert read_line(process) == "[devpi] four\n"
        with (folder / "devpi.log").open("a") as log:
            log.write("fi")
            log.flush()
            assert read_line_of_nginx(folder, process) == "[nginx] served\n"
            log.write("ve\n")
        assert read_line(process) == "[devpi] five\n", "once, and as a whole"
        (folder / "devpi.log").write_text("after a restart\n")
        assert read_line(process) == "[devpi] after a restart\n"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_follows_one_program_until_the_reader_goes(folder: Path) -> None:
    with follow("nginx") as process:
        assert read_line(process) == "[nginx] start\n"
        assert process.stdout
        process.stdout.close()
        with (folder / "nginx.log").open("a") as log:
            log.write("lost\n")
        assert process.wait(timeout=60) == 0
        assert process.stderr
        assert process.stderr.read() == ""
