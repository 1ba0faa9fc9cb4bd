"""Deadlines, and the only wait loop of the project."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mirror.core.errors import WaitTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds, that everything below a command shares."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and ``seconds`` from now."""
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
    """Call ``look`` until it returns something that is neither None nor False.

    The pause between looks starts at ``interval`` seconds and grows to ``ceiling``.
    Raises WaitTimeout (``what``, the text of ``why()``) when the deadline has passed.
    """
    pause = interval
    while True:
        seen = condition()
        if seen is not None and seen is not False:
            return seen
        if deadline.expired:
            raise WaitTimeout(f"{what}: not within the time given", why=why(), next_step=next_step)
        time.sleep(min(pause, max(deadline.remaining(), 0.01)))
        pause = min(pause * 1.3, max_interval)
