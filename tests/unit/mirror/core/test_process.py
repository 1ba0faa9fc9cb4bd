import sys

import pytest

from mirror.core import process
from mirror.core.errors import ProgramError
from mirror.core.wait import Deadline


def run(code: str, **words: object) -> process.ProcessResult:
    return process.run([sys.executable, "-c", code], deadline=Deadline.after(20), **words)  # type: ignore[arg-type]


def test_output_and_input() -> None:
    done = run("import sys; print(sys.stdin.read().upper())", input=b"abc")
    assert done.ok
    assert done.out == "ABC\n"


def test_without_input_it_reads_an_end() -> None:
    assert run("import sys; print(repr(sys.stdin.read()))").out == "''\n"


def test_a_failure_shows_its_last_lines() -> None:
    with pytest.raises(ProgramError) as told:
        run("raise SystemExit('no such thing')")
    assert "no such thing" in told.value.why


def test_a_program_past_its_deadline_is_ended() -> None:
    with pytest.raises(ProgramError, match="deadline"):
        process.run(
            [sys.executable, "-c", "import time; time.sleep(60)"], deadline=Deadline.after(0.3)
        )


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(ProgramError, match="cannot be started"):
        process.run(["no-such-program"], deadline=Deadline.after(5))
