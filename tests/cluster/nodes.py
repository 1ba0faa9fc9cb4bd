"""Starts and ends nodes, from the lab's first process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.cgroups import remove_cgroups
from tests.cluster.network import connect_node, disconnect_node
from tests.cluster.node_files import NODE_NUMBERS
from tests.cluster.record import LabRecord
from tests.cluster.waiting import WaitAborted, wait_for

REPOSITORY = Path(__file__).parents[2]


class NodeManager:
    """The nodes of one lab and their numbers, which they keep as long as the lab lives."""

    def __init__(self, record: LabRecord) -> None:
        self._record = record
        self._site = record.site
        self.numbers = dict(zip(record.options.nodes, NODE_NUMBERS, strict=False))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def running(self) -> tuple[str, ...]:
        """The names of the nodes that run, in the order of their numbers."""
        return tuple(
            name
            for name in self.numbers
            if name in self._running and self._running[name].poll() is None
        )

    def start(self, name: str) -> None:
        """Start a node, a new one or one that was killed; returns at once.

        Raises ValueError when it runs already.
        """
        if name in self.running():
            raise ValueError(f"node {name} runs already")
        number = self.numbers.setdefault(name, max(self.numbers.values(), default=1) + 1)
        folder, logs = self._site.node_folder(name), self._site.logs / name
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        (folder / "pid").unlink(missing_ok=True)
        connect_node(self._site, name, number, dual_stack=self._record.options.no_ipv6_route)
        into = ("nsenter", f"--net=/run/netns/{name}")
        fresh = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc")
        init = (sys.executable, "-m", "tests.cluster.node_init")
        with (logs / "init.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                (*into, *fresh, *init, str(self._site.folder), name, str(number)),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def raise_if_ended(self, name: str) -> None:
        """Raise Hopeless with a node's last words when it has ended."""
        if name not in self.running():
            log = self._site.logs / name / "init.log"
            raise WaitAborted(f"node {name} ended: {log.read_text()[-1500:]}")

    def kill(self, name: str) -> None:
        """End a node at once, as a power failure does; its disk stays. Raises KeyError."""
        child = self._running.pop(name, None)
        if child is None:
            raise KeyError(f"no node {name} runs")
        pid_file = self._site.node_folder(name) / "pid"
        wait_for(f"the pid of {name}", pid_file.exists, timeout=10)
        # unshare ends when the node's first process and all under it are gone.
        os.kill(_pid_here(int(pid_file.read_text())), signal.SIGKILL)
        child.wait(30)
        disconnect_node(name, self.numbers[name])
        # With stale cgroups a rebooted node takes half a minute to run its pods again.
        remove_cgroups(self._site.cgroup(name))

    def wipe(self) -> None:
        """Kill all nodes and wipe their disks; added nodes are dropped."""
        for name in self.running():
            self.kill(name)
        for name in tuple(self.numbers):
            folder = self._site.node_folder(name)
            shutil.rmtree(folder, ignore_errors=True)
        self.numbers = dict(zip(self._record.options.nodes, NODE_NUMBERS, strict=False))


def _pid_here(machine_pid: int) -> int:
    """The pid that a process of the machine has in the lab's pid namespace."""
    status = Path(f"/proc/{machine_pid}/status").read_text()
    row = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(row.split()[2])
