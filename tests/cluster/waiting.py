"""The wait loop of the test cluster: poll a condition until a timeout."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_PAUSE_SECONDS = 2.0


class ConditionTimeout(TimeoutError):
    """A condition did not become true in time."""


class WaitAborted(Exception):
    """Raised by a condition that can no longer become true. It ends the wait at once."""


def wait_for(
    what: str, condition: Callable[[], T | None], *, timeout: float, interval: float = 0.1
) -> T:
    """Call condition every interval seconds and return its first truthy value.

    A slow condition is called less often: the pause grows to three times its duration, at most
    MAX_PAUSE_SECONDS. An OSError or RuntimeError from condition counts as "not yet"; the timeout
    message includes the last one. Raises ConditionTimeout after timeout seconds. A WaitAborted from
    condition passes through.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    last: Exception | None = None
    while True:
        started = time.monotonic()
        try:
            value = condition()
        except (OSError, RuntimeError) as error:
            last = error
        else:
            if value:
                return value
        now = time.monotonic()
        if now > deadline:
            reason = f": {last}" if last else ""
            raise ConditionTimeout(f"{what}: not within {timeout:g} s{reason}") from last
        pause.wait(max(interval, min(3 * (now - started), MAX_PAUSE_SECONDS)))


def scale_by_load(seconds: float) -> float:
    """Return a time limit for this machine from one for an idle machine.

    The limit grows with the load average per core, because other work takes its share of the cores.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
