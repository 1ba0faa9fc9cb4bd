"""A command that is killed at any of its writes is finished or undone by the next one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial

import pytest

from deploy.changes.state import read_states
from mirror.core.errors import ClusterError
from tests.fix_targets import (
    FIXES,
    FixTargets,
    OtherEditor,
    apply_fixes,
    roll_back_fixes,
)
from tests.kubernetes_api import KilledError, MemoryApi
from tests.kubernetes_api.failures import When
from tests.kubernetes_api.requests import ApiRequest

ALL_FIXES = ("attach", "search-domains", "dns", "removal")
SEEDS = [*range(24), 550]  # seed 550 once found a bug


def run_killed(
    api: MemoryApi, number: int, when: When, action: Callable[[], None], restart: Callable[[], None]
) -> bool:
    """Run an action that is killed at its number-th write; return whether it was."""
    api.failures.kill_at_write(number, when)
    try:
        action()
    except KilledError:
        return True
    finally:
        restart()
    return False


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("then", ["resume", "roll back", "resume with another fix"])
@pytest.mark.parametrize("during", ["apply", "roll back"])
def test_continues_after_a_kill_at_every_write(
    api: MemoryApi,
    targets: FixTargets,
    restart: Callable[[], None],
    during: str,
    then: str,
    when: When,
) -> None:
    """Kill a write later in each round, until the operation ends first."""
    before = targets.read_state()
    kills = 0
    while True:
        if during == "roll back":
            apply_fixes(targets, *ALL_FIXES)
        operation = apply_fixes if during == "apply" else roll_back_fixes
        action = partial(operation, targets, *ALL_FIXES)
        if not run_killed(api, kills + 1, when, action, restart):
            break
        kills += 1
        if then == "resume":
            apply_fixes(targets, *ALL_FIXES)
            states = {state.state for state in read_states(targets.make_engine(), FIXES)}
            assert states == {"applied"}, kills
        elif then == "resume with another fix":
            apply_fixes(targets, "attach")
        roll_back_fixes(targets, *ALL_FIXES)
        assert targets.read_state() == before, kills
        assert targets.list_leftovers() == [], kills
    # the Lease twice; for each of three targets its entry, the target, and the entry again
    assert kills == 2 + 3 * 3


def lose_api_server(api: MemoryApi, number: int, when: When) -> None:
    """Let the API server end at its ``number``-th request from now on, and answer none after it."""
    count = itertools.count(1)
    ended = False

    def is_lost(_: ApiRequest) -> bool:
        nonlocal ended
        ended = ended or next(count) == number
        return ended

    def fail(_: ApiRequest) -> None:
        raise ClusterError("the connection was closed without a response")

    api.failures.add(is_lost, fail, when, times=None)
    if when == "after":  # later requests have no effect
        api.failures.add(lambda _: ended, fail, "before", times=None)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("during", [apply_fixes, roll_back_fixes])
def test_continues_after_the_api_server_was_killed_at_any_request(
    api: MemoryApi,
    targets: FixTargets,
    restart: Callable[[], None],
    during: Callable[..., None],
    when: When,
) -> None:
    """The command ends with an error; the same one, and then a rollback, finish it."""
    before = targets.read_state()
    for number in itertools.count(1):
        if during is roll_back_fixes:
            apply_fixes(targets, *ALL_FIXES)
        lose_api_server(api, number, when)
        try:
            during(targets, *ALL_FIXES)
        except ClusterError:
            is_lost = True
        else:
            is_lost = False
        restart()
        during(targets, *ALL_FIXES)
        if during is apply_fixes:
            states = {state.state for state in read_states(targets.make_engine(), FIXES)}
            assert states == {"applied"}, number
        roll_back_fixes(targets, *ALL_FIXES)
        assert targets.read_state() == before, number
        assert targets.list_leftovers() == [], number
        if not is_lost:
            break
    assert number > 15, "reads, the Lease, and three targets with their entries"


@pytest.mark.parametrize("seed", SEEDS)
def test_random_order_of_fixes_kills_and_edits_loses_nothing(
    api: MemoryApi, targets: FixTargets, restart: Callable[[], None], seed: int
) -> None:
    dice = random.Random(seed)
    editor = OtherEditor(targets, dice)
    before = targets.read_state()
    both = ("search-domains", "dns")
    moments: list[When] = ["before", "after"]
    for _ in range(dice.randint(4, 10)):
        fixes = dice.choice([("dns",), ("search-domains",), both, ALL_FIXES])
        operation = dice.choice([apply_fixes, apply_fixes, roll_back_fixes])
        match dice.choice(["act", "act", "kill", "edit", "edit", "revert"]):
            case "act":
                operation(targets, *fixes)
            case "kill":
                number, when = dice.randint(1, 12), dice.choice(moments)
                run_killed(api, number, when, partial(operation, targets, *fixes), restart)
            case "edit":
                editor.add_line()
            case "revert":
                editor.revert()
        editor.check()
    roll_back_fixes(targets, *ALL_FIXES)
    assert targets.read_corefile() == editor.base
    assert {**targets.read_state(), "corefile": ""} == {**before, "corefile": ""}
    assert targets.list_leftovers() == []


@pytest.mark.parametrize("operation", [apply_fixes, roll_back_fixes])
def test_the_ledger_knows_of_a_write_before_it_happens(
    api: MemoryApi, targets: FixTargets, operation: Callable[..., None]
) -> None:
    """Otherwise nothing could undo a write after which the command was killed."""
    if operation is roll_back_fixes:
        apply_fixes(targets, *ALL_FIXES)
        api.requests.clear()
    operation(targets, *ALL_FIXES)
    kinds = []
    for write in api.list_writes():
        method, path = write.split()
        name = path.rpartition("/")[2]
        is_entry = "pypi-mirror-ledger-" in name or (method, name) == ("POST", "configmaps")
        kinds.append("entry" if is_entry else "lease" if "lease" in path else "target")
    entry_then_target = ["entry", "target", "entry"]
    assert kinds == ["lease", *entry_then_target * 3, "lease"]
