"""Deadlines, and the only wait loops of the project."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mirror.core.errors import WaitTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on the monotonic clock, in seconds; all steps of a command share one."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """Return this deadline or ``seconds`` from now, whichever is earlier."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    @property
    def expired(self) -> bool:
        return self.remaining() <= 0


def wait_until(
    condition: Callable[[], T | None],
    *,
    deadline: Deadline,
    what: str,
    why: Callable[[], str] = lambda: "",
    next_step: str = "",
    interval: float = 0.2,
    max_interval: float = 2.0,
) -> T:
    """Call ``condition`` until it returns something other than None and False, and return that.

    The pause between calls grows from ``interval`` to ``max_interval`` seconds. Raises WaitTimeout
    (``what``, and the text of ``why()``) after the deadline; the condition is called at least once.
    """
    pause = interval
    while True:
        result = condition()
        if result is not None and result is not False:
            return result
        if deadline.expired:
            raise WaitTimeout(f"{what}: timed out", why=why(), next_step=next_step)
        time.sleep(min(pause, max(deadline.remaining(), 0.01)))
        pause = min(pause * 1.3, max_interval)


def pause(seconds: float) -> None:
    """Do nothing for this long; Ctrl-C ends it."""
    time.sleep(seconds)


def repeat_until_stopped(action: Callable[[], None], seconds: float) -> None:
    """Call ``action`` now and every ``seconds`` seconds, until SIGTERM or SIGINT arrives."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.is_set():
        action()
        stopped.wait(seconds)
