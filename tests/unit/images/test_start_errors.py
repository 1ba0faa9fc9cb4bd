"""What it means that the engine cannot start a command."""

from __future__ import annotations

import pytest

from images.application_recipe import StartCommand
from images.proof import Outcome
from images.proof.starts import judge_start_error

OCI = "OCI runtime create failed: runc create failed: unable to start container process: exec: "


@pytest.mark.parametrize(
    ("why", "detail"),
    [
        (f'{OCI}"serve": executable file not found in $PATH', "is not in the image"),
        (f'{OCI}"/x/serve": stat /x/serve: no such file or directory', "is not in the image"),
        (f'{OCI}"/x/serve": permission denied', "is not executable"),
        (f"{OCI}exec /x/serve: exec format error", "has no #! line"),
        (f'{OCI}"/x/serve": is a directory', "is a folder"),
    ],
)
def test_a_command_that_cannot_be_started_has_failed(why: str, detail: str) -> None:
    start = StartCommand(name="web", argv=("/x/serve", "--all"), port=8000)
    result = judge_start_error(start, why)
    assert result is not None
    assert result.outcome.outcome is Outcome.FAILED
    assert detail in result.faults[0]
    assert result.advice[0].changes == ('starts.web.argv=["serve", "--all"]',)


def test_a_program_without_a_folder_has_no_other_name() -> None:
    start = StartCommand(name="web", argv=("serve",))
    result = judge_start_error(start, f'{OCI}"serve": executable file not found in $PATH')
    assert result is not None
    assert result.advice[0].changes == ()


def test_another_error_of_the_engine_is_no_result() -> None:
    start = StartCommand(name="web", argv=("serve",))
    assert judge_start_error(start, "connection reset by peer") is None
    assert judge_start_error(start, "no space left on device") is None
