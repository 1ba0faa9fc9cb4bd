"""Follow a warm run until it has reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.warm.request import WarmProgress, WarmReport


def follow_run(
    read_message: Callable[[], WarmProgress | WarmReport | None],
    *,
    deadline: Deadline,
    max_interval: float,
    timeout_error: WaitTimeout,
) -> Iterator[WarmProgress | WarmReport]:
    """Yield each new message of a run, its report last. Raises ``timeout_error`` if time is up."""
    latest: WarmProgress | WarmReport | None = None

    def read_news() -> tuple[WarmProgress | WarmReport] | None:
        message = read_message()
        return (message,) if message is not None and message != latest else None

    while not isinstance(latest, WarmReport):
        try:
            (latest,) = wait_until(
                read_news, deadline=deadline, what="the warm run", max_interval=max_interval
            )
        except WaitTimeout as timeout:
            raise timeout_error from timeout
        yield latest
