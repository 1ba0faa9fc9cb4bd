"""Leftovers are the containers of processes of this machine that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from images.engine.leftovers import OWNER_LABEL, _is_orphan, current_owner


def is_orphan(owner: str | None) -> bool:
    return _is_orphan({"Labels": {OWNER_LABEL: owner}})


def test_only_an_ended_process_leaves_orphans() -> None:
    assert not is_orphan(current_owner())
    code = "from images.engine.leftovers import current_owner; print(current_owner())"
    other = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=30)
    assert is_orphan(other.stdout.strip())


def test_recognizes_a_reused_process_id() -> None:
    machine, pid, started = current_owner().split("/")
    assert pid == str(os.getpid())
    assert not is_orphan(f"{machine}/{pid}/{int(started) - 5}"), "the clock was set"
    assert is_orphan(f"{machine}/{pid}/{int(started) - 86400}")


@pytest.mark.parametrize(
    "owner", [None, "", "1", "elsewhere/1/2", "elsewhere/999999999/0", "a/b/c/d"]
)
def test_leaves_other_machines_alone(owner: str | None) -> None:
    assert not is_orphan(owner)
