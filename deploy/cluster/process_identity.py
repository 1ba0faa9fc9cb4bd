"""Identify this process among those of all machines, and tell whether another one has ended."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path


def current_user() -> str:
    """Return user@host, as the ledger stores it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def identify_process() -> str:
    """Return user, host, pid and start of this process."""
    return f"{current_user()} pid {os.getpid()} start {process_stamp(os.getpid())}"


def shorten(holder: str) -> str:
    """Return an identity as it is shown to people."""
    return holder.partition(" start ")[0]


def has_ended(holder: str) -> bool:
    """Return whether the holder was a process on this machine that has ended.

    The stamp distinguishes it from a later process with the same pid.
    """
    user, _, rest = holder.partition(" pid ")
    pid, _, stamp = rest.partition(" start ")
    if user.rpartition("@")[2] != socket.gethostname() or not pid.isdigit():
        return False
    return stamp.startswith(f"{pid_space()}/") and process_stamp(int(pid)) != stamp


def pid_space() -> str:
    """Identify this boot of this machine and the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "unknown"


def process_stamp(pid: int) -> str:
    """Identify a process among all processes of all machines; empty if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{pid_space()}/{stat.rpartition(')')[2].split()[19]}"  # field 22: start time
