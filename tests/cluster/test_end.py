"""Whatever ends a lab, nothing of it is left: no process, mount, link, table, cgroup or file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.cleanup import remaining_ids, sweep
from tests.cluster.lab import Lab, bring_up, find
from tests.cluster.network import FORWARDING, remembered_forwarding
from tests.cluster.nodes import ROOT
from tests.cluster.options import LabOptions
from tests.cluster.traces import Process, processes_of, traces
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster

OWNER = """
import threading
from tests.cluster.lab import bring_up
from tests.cluster.options import LabOptions
bring_up(LabOptions(name="{name}", nodes=("anubis",)))
print("up", flush=True)
threading.Event().wait()
"""


def small(name: str) -> LabOptions:
    return LabOptions(name=f"{name}-{os.getpid()}", nodes=("anubis",))


def gone(lab: Lab, processes: frozenset[Process]) -> None:
    """Wait until nothing is left, and fail with what is."""
    left: list[str] = []

    def nothing() -> bool:
        left[:] = traces(lab, processes)
        return not left

    try:
        wait_for("the lab to vanish", nothing, timeout=120, interval=0.2)
    except TimeoutError:
        pytest.fail("left behind:\n" + "\n".join(left))


def test_down_leaves_nothing() -> None:
    alone, before = not remaining_ids(), FORWARDING.read_text().strip()
    lab = bring_up(small("down"))
    processes = processes_of(lab)
    if not alone:  # it is another lab's forwarding that was read
        before = remembered_forwarding() or before
    assert len(processes) > 10
    assert len(traces(lab, processes)) > len(processes), "the test itself must see a lab"
    lab.down()
    assert traces(lab, processes) == []
    others, forwarding = remaining_ids(), FORWARDING.read_text().strip()
    if not others and not remaining_ids():
        assert forwarding == before


def test_a_killed_owner_leaves_nothing() -> None:
    name = small("owner").name
    owner = subprocess.Popen(
        (sys.executable, "-c", OWNER.format(name=name)), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    lab = find(name)
    assert lab is not None
    processes = processes_of(lab)
    owner.kill()
    owner.communicate(timeout=10)
    gone(lab, processes)


@pytest.mark.parametrize("victim", ["owner", "keeper"])
def test_one_killed_while_the_lab_starts_leaves_nothing(victim: str) -> None:
    name = small("early").name
    owner = subprocess.Popen((sys.executable, "-c", OWNER.format(name=name)), cwd=ROOT)
    lab = wait_for("the lab to begin", lambda: find(name), timeout=60)
    node = lab.site.node_folder("anubis") / "pid"
    wait_for("its node to begin", node.exists, timeout=60)
    processes = processes_of(lab)
    os.kill(owner.pid if victim == "owner" else lab.keeper_pid, signal.SIGKILL)
    owner.wait(30)
    gone(lab, processes)


@pytest.mark.parametrize("victim", ["keeper", "first process"])
def test_either_guardian_killed_leaves_nothing(victim: str) -> None:
    lab = bring_up(small("guardian"))
    processes = processes_of(lab)
    os.kill(lab.keeper_pid if victim == "keeper" else _first_process(lab), signal.SIGKILL)
    gone(lab, processes)


def test_both_guardians_killed_leave_nothing_to_the_next_command() -> None:
    lab = bring_up(small("both"))
    processes = processes_of(lab)
    first = _first_process(lab)
    os.kill(lab.keeper_pid, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    os.kill(lab.keeper_pid, signal.SIGKILL)
    wait_for("it to be dead", lambda: find(lab.name) is None, timeout=120)
    before = remaining_ids()
    # another lab's start may have swept already
    assert lab.site.id in sweep() or lab.site.id not in before
    gone(lab, processes)


def _first_process(lab: Lab) -> int:
    """The lab's PID 1, by the pid that the machine gives it."""
    for pid, _ in processes_of(lab):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # some only lived while we looked
            continue
        if f"NSpid:\t{pid}\t1\n" in status:
            return pid
    raise AssertionError("the lab has no first process")
