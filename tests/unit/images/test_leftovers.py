"""Whose containers are taken for left over: those of processes of this machine that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from images.engine.leftovers import _is_dead, current_owner


def test_a_process_that_runs_and_one_that_has_ended() -> None:
    assert not _is_dead(current_owner())
    code = "from images.engine.leftovers import current_owner; print(current_owner())"
    other = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=30)
    assert _is_dead(other.stdout.strip())


def test_the_same_number_given_to_a_later_process() -> None:
    machine, pid, started = current_owner().split("/")
    assert pid == str(os.getpid())
    assert not _is_dead(f"{machine}/{pid}/{int(started) - 5}"), "the clock was set"
    assert _is_dead(f"{machine}/{pid}/{int(started) - 86400}")


@pytest.mark.parametrize(
    "told", [None, "", "1", "elsewhere/1/2", "elsewhere/999999999/0", "a/b/c/d"]
)
def test_what_is_not_of_this_machine_is_left_alone(told: str | None) -> None:
    assert not _is_dead(told)
