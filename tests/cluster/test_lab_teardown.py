"""However a lab ends, nothing is left: no process, mount, link, table, cgroup or file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.cluster.cleanup import clean_dead_labs, find_lab_ids
from tests.cluster.lab import Lab, bring_up, find_lab
from tests.cluster.leftovers import ProcessIdentity, find_leftovers, list_processes
from tests.cluster.network import FORWARDING, read_saved_forwarding
from tests.cluster.options import LabOptions
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


def small_lab_options(name: str) -> LabOptions:
    return LabOptions(name=f"{name}-{os.getpid()}", nodes=("anubis",))


def assert_gone(lab: Lab, processes: frozenset[ProcessIdentity]) -> None:
    """Wait until nothing is left; fail with a list of what is."""
    leftovers: list[str] = []

    def is_gone() -> bool:
        leftovers[:] = find_leftovers(lab, processes)
        return not leftovers

    try:
        wait_for("the lab to vanish", is_gone, timeout=120, interval=0.2)
    except TimeoutError:
        pytest.fail("left behind:\n" + "\n".join(leftovers))


def test_down_leaves_nothing() -> None:
    is_only_lab, forwarding = not find_lab_ids(), FORWARDING.read_text().strip()
    lab = bring_up(small_lab_options("down"))
    processes = list_processes(lab)
    if not is_only_lab:  # another lab has changed forwarding
        forwarding = read_saved_forwarding() or forwarding
    assert len(processes) > 10
    assert len(find_leftovers(lab, processes)) > len(processes), "the test itself must see a lab"
    lab.down()
    assert find_leftovers(lab, processes) == []
    others, restored = find_lab_ids(), FORWARDING.read_text().strip()
    if not others and not find_lab_ids():
        assert restored == forwarding


def test_a_killed_owner_leaves_nothing() -> None:
    name = small_lab_options("owner").name
    owner = subprocess.Popen(
        (sys.executable, "-c", OWNER.format(name=name)), cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"up\n"
    lab = find_lab(name)
    assert lab is not None
    processes = list_processes(lab)
    owner.kill()
    owner.communicate(timeout=10)
    assert_gone(lab, processes)


@pytest.mark.parametrize("victim", ["owner", "supervisor"])
def test_a_kill_during_start_leaves_nothing(victim: str) -> None:
    name = small_lab_options("early").name
    owner = subprocess.Popen((sys.executable, "-c", OWNER.format(name=name)), cwd=REPOSITORY)
    lab = wait_for("the lab to start", lambda: find_lab(name), timeout=60)
    node = lab.site.node_folder("anubis") / "pid"
    wait_for("its node to start", node.exists, timeout=60)
    processes = list_processes(lab)
    os.kill(owner.pid if victim == "owner" else lab.supervisor_pid, signal.SIGKILL)
    owner.wait(30)
    assert_gone(lab, processes)


@pytest.mark.parametrize("victim", ["supervisor", "first process"])
def test_a_killed_supervisor_or_first_process_leaves_nothing(victim: str) -> None:
    lab = bring_up(small_lab_options("guardian"))
    processes = list_processes(lab)
    os.kill(
        lab.supervisor_pid if victim == "supervisor" else _find_first_process(lab), signal.SIGKILL
    )
    assert_gone(lab, processes)


def test_the_next_command_cleans_up_after_both_were_killed() -> None:
    lab = bring_up(small_lab_options("both"))
    processes = list_processes(lab)
    first = _find_first_process(lab)
    os.kill(lab.supervisor_pid, signal.SIGSTOP)
    os.kill(first, signal.SIGKILL)
    os.kill(lab.supervisor_pid, signal.SIGKILL)
    wait_for("the lab to stop", lambda: find_lab(lab.name) is None, timeout=120)
    before = find_lab_ids()
    # another lab may have cleaned up already
    assert lab.site.id in clean_dead_labs() or lab.site.id not in before
    assert_gone(lab, processes)


def _find_first_process(lab: Lab) -> int:
    """Return the machine's PID of the lab's PID 1."""
    for pid, _ in list_processes(lab):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # some processes are short-lived
            continue
        if f"NSpid:\t{pid}\t1\n" in status:
            return pid
    raise AssertionError("the lab has no first process")
