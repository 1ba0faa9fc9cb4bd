"""Run a Python program that kills itself (SIGKILL) right before its Nth change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests import REPOSITORY

_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
_HOOK = """
import os, signal, sys
changes_left = int(sys.argv.pop(1))
def kill_before_change(event, args):
    global changes_left
    opens_to_write = event == "open" and isinstance(args[2], int)
    if event in EVENTS or opens_to_write and args[2] & (os.O_WRONLY | os.O_RDWR):
        changes_left -= 1
        if changes_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""
_RUN_AGENT = """
import mirror.agent.__main__ as agent
sys.addaudithook(kill_before_change)
sys.exit(agent.main(sys.argv[1:]))
"""


def run_killed_at(
    change: int,
    program: str,
    *argv: str,
    stdin: str = "",
    events: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
) -> bool:
    """Run a program that is killed before change number ``change``, counted from 0.

    Returns False when it ended first, because it makes fewer changes. The program installs the
    audit hook `kill_before_change` where counting is to begin. Opening a file for writing, renaming
    and removing count, and so does every audit event in ``events``. ``prefix`` is put before the
    command.
    """
    source = f"EVENTS = {(*_EVENTS, *events)!r}\n{_HOOK}{program}"
    done = subprocess.run(
        [*prefix, sys.executable, "-c", source, str(change), *argv],
        input=f"{stdin}\n".encode(),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode == -signal.SIGKILL


def run_agent_killed_at(
    change: int,
    *options: str,
    request: str,
    events: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
) -> bool:
    """Send one request to a node agent that is killed before a change; see run_killed_at."""
    return run_killed_at(
        change, _RUN_AGENT, "do", *options, stdin=request, events=events, prefix=prefix
    )
