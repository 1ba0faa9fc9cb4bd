"""Moves the calling thread between network namespaces (os.setns is only in Python 3.12)."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(descriptor: int) -> None:
    """From here on this thread, and what it starts, is in the namespace of the open file.

    Sockets that are open already stay where they were made. Raises OSError.
    """
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
