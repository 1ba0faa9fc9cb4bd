"""Move the calling thread into another network namespace (os.setns needs Python 3.12)."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(descriptor: int) -> None:
    """Move this thread, and whatever it starts, into the namespace of an open file.

    Open sockets stay in the namespace in which they were created. Raises OSError.
    """
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
