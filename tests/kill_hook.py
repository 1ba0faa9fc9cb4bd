"""Programs that end themselves, by SIGKILL, right before the Nth thing that they change."""

from __future__ import annotations

_COUNTED = """
import os, signal, sys
left = int(sys.argv.pop(1))
def counted(event, args):
    global left
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in EVENTS:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def render_kill_hook(*more: str) -> str:
    """The beginning of a program of Python: its first argument is N, and its audit hook `counted`.

    Opening a file to write counts, moving and removing, and the audit events in ``more``.
    """
    events = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", *more)
    return f"EVENTS = {events!r}\n{_COUNTED}"
