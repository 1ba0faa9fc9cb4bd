"""The one wait loop of the test cluster: a condition, a time limit, and why it did not come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_PAUSE_SECONDS = 2.0  # seconds


class ConditionTimeout(TimeoutError):
    """A condition did not become true in time."""


class WaitAborted(Exception):
    """Raised by a condition that can no longer become true: the wait ends at once with it."""


def wait_for(
    what: str, condition: Callable[[], T | None], *, timeout: float, interval: float = 0.1
) -> T:
    """Return the first truthy value of condition, asked every interval seconds.

    One that takes long to answer is asked less often: up to three times as long is waited between.
    Raises NotInTime after timeout seconds, and Hopeless when condition does. Any other OSError or
    RuntimeError of condition counts as "not yet"; the last one is named in the message.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    last: Exception | None = None
    while True:
        begun = time.monotonic()
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
        pause.wait(max(interval, min(3 * (now - begun), MAX_PAUSE_SECONDS)))


def scale_by_load(seconds: float) -> float:
    """What holds on an idle machine, on this one: other work takes its share of the cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
