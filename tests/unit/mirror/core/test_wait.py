import os
import signal

import pytest

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, repeat_until_stopped, wait_until


def test_returns_the_first_result() -> None:
    results = iter([None, False, "here"])
    deadline = Deadline.after(5)
    assert wait_until(lambda: next(results), deadline=deadline, what="x", interval=0) == "here"


def test_a_timeout_says_why() -> None:
    with pytest.raises(WaitTimeout) as error:
        wait_until(lambda: None, deadline=Deadline.after(0), what="the pod", why=lambda: "no node")
    assert "the pod" in error.value.what
    assert error.value.why == "no node"


def test_zero_counts_as_a_result() -> None:
    assert wait_until(lambda: 0, deadline=Deadline.after(0), what="x") == 0


def test_within_never_extends_a_deadline() -> None:
    short = Deadline.after(1)
    assert short.within(100) == short
    assert short.within(0.1).remaining() <= 0.1


def test_repeats_until_a_signal() -> None:
    calls: list[int] = []

    def act() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        repeat_until_stopped(act, 0.01)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert calls == [0, 1, 2]
