"""A lock that serializes the agent's processes on a host: `serve` and every `do`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.agent.host_paths import HostPaths


@contextmanager
def lock_host(host: HostPaths) -> Iterator[None]:
    """Hold the lock; block until the other process releases it."""
    fd = os.open(host.root / "etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
