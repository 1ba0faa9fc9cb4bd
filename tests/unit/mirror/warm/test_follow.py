"""Following a warm run."""

from __future__ import annotations

import pytest

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline
from mirror.warm.follow import follow_run
from mirror.warm.request import WarmProgress, WarmReport

REPORT = WarmReport(projects=1, files=2, size=3, misses=(), seconds=0.1)
TIMEOUT = WaitTimeout("still running", next_step="mirror warm --follow")


def make_progress(done: int) -> WarmProgress:
    return WarmProgress(step="files", done=done, total=2, text="a")


def test_yields_each_new_message_once_and_ends_with_the_report() -> None:
    messages = iter([None, make_progress(1), make_progress(1), make_progress(2), REPORT])
    run = follow_run(
        lambda: next(messages),
        deadline=Deadline.after(30),
        max_interval=0.01,
        timeout_error=TIMEOUT,
    )
    assert list(run) == [make_progress(1), make_progress(2), REPORT]


def test_raises_the_given_error_at_the_deadline() -> None:
    run = follow_run(
        lambda: make_progress(1),
        deadline=Deadline.after(0.05),
        max_interval=0.01,
        timeout_error=TIMEOUT,
    )
    assert next(run) == make_progress(1)
    with pytest.raises(WaitTimeout) as error:
        next(run)
    assert error.value is TIMEOUT
