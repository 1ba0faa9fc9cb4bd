"""One of the agent's processes at a time: who stands by, and each that is asked."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.agent.host_paths import HostPaths


@contextmanager
def lock_host(host: HostPaths) -> Iterator[None]:
    """No two of them work on one host at once."""
    fd = os.open(host.root / "etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
