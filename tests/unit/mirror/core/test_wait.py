import pytest

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until


def test_a_condition_that_comes_true_gives_its_value() -> None:
    answers = iter([None, False, "here"])
    assert (
        wait_until(lambda: next(answers), deadline=Deadline.after(5), what="x", interval=0)
        == "here"
    )


def test_a_condition_that_never_does_says_why() -> None:
    with pytest.raises(WaitTimeout) as told:
        wait_until(lambda: None, deadline=Deadline.after(0), what="the pod", why=lambda: "no node")
    assert "the pod" in told.value.what
    assert told.value.why == "no node"


def test_zero_counts_as_seen() -> None:
    assert wait_until(lambda: 0, deadline=Deadline.after(0), what="x") == 0


def test_within_never_lengthens() -> None:
    short = Deadline.after(1)
    assert short.within(100) == short
    assert short.within(0.1).remaining() <= 0.1
