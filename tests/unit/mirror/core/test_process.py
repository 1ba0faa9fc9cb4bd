import sys

import pytest

from mirror.core import process
from mirror.core.errors import ProgramError
from mirror.core.wait import Deadline


def run(code: str, **options: object) -> process.ProcessResult:
    return process.run([sys.executable, "-c", code], deadline=Deadline.after(20), **options)  # type: ignore[arg-type]


def test_passes_input_and_captures_output() -> None:
    result = run("import sys; print(sys.stdin.read().upper())", input=b"abc")
    assert result.ok
    assert result.out == "ABC\n"


def test_stdin_is_empty_without_input() -> None:
    assert run("import sys; print(repr(sys.stdin.read()))").out == "''\n"


def test_a_failure_shows_the_last_lines_of_output() -> None:
    with pytest.raises(ProgramError) as error:
        run("raise SystemExit('no such thing')")
    assert "no such thing" in error.value.why


def test_kills_a_program_at_its_deadline() -> None:
    with pytest.raises(ProgramError, match="deadline"):
        process.run(
            [sys.executable, "-c", "import time; time.sleep(60)"], deadline=Deadline.after(0.3)
        )


def test_rejects_a_program_that_does_not_exist() -> None:
    with pytest.raises(ProgramError, match="cannot be started"):
        process.run(["no-such-program"], deadline=Deadline.after(5))
