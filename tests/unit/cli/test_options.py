"""Shared options: what counts as given, and when a command asks before it writes."""

from __future__ import annotations

import click
import pytest

from cli import fix_workflow
from cli.options import WriteOptions, check_can_ask, given_options
from deploy.repair.model import RepairPlan, TargetDiff
from mirror.core.errors import InputError

EMPTY = RepairPlan(decisions=(), updates=(), diffs=())
OVERLAP = TargetDiff(target="ConfigMap a/b key c", text="", why=(), drops=("their line",))


def write(*, yes: bool = False, force: bool = False) -> WriteOptions:
    return WriteOptions(force=force, dry_run=False, yes=yes, output="table")


class Terminal:
    """Standard input that is, or is not, a terminal."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture(params=[True, False], ids=["terminal", "no terminal"])
def is_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("sys.stdin", Terminal(is_terminal=request.param))
    return bool(request.param)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the questions instead of asking them."""
    asked: list[str] = []
    monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text))
    return asked


def test_an_option_of_zero_or_false_was_given() -> None:
    given = {"port": 0, "size": "", "keep": False, "node": None}
    assert given_options(given) == {"port": 0, "size": "", "keep": False}


def test_asks_only_on_a_terminal(is_terminal: bool) -> None:
    check_can_ask("this changes workloads", yes=True)
    if is_terminal:
        check_can_ask("this changes workloads", yes=False)
    else:
        with pytest.raises(InputError, match="nobody can confirm it"):
            check_can_ask("this changes workloads", yes=False)


def test_nothing_is_asked_with_yes(is_terminal: bool, questions: list[str]) -> None:
    fix_workflow.confirm(EMPTY, write(yes=True))
    assert questions == []


def test_a_plan_is_asked_about(is_terminal: bool, questions: list[str]) -> None:
    if is_terminal:
        fix_workflow.confirm(EMPTY, write())
        assert questions == ["\nwrite this?"]
    else:
        with pytest.raises(InputError, match="nobody can confirm it"):
            fix_workflow.confirm(EMPTY, write())
        assert questions == []


def test_discarding_edits_is_asked_about_only_with_force(
    is_terminal: bool, questions: list[str]
) -> None:
    plan = RepairPlan(decisions=(), updates=(), diffs=(OVERLAP,))
    fix_workflow.confirm(plan, write())  # it is refused next
    assert questions == []
    if is_terminal:
        fix_workflow.confirm(plan, write(force=True))
        assert len(questions) == 1
