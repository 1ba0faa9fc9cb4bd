"""Start and kill nodes from the lab's first process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests import REPOSITORY
from tests.cluster.cgroups import remove_cgroups
from tests.cluster.network import connect_node, disconnect_node
from tests.cluster.node_files import NODE_NUMBERS
from tests.cluster.record import LabRecord
from tests.cluster.waiting import WaitAborted, wait_for


class NodeManager:
    """The nodes of one lab. Each keeps its number for the lifetime of the lab."""

    def __init__(self, record: LabRecord) -> None:
        self._record = record
        self._site = record.site
        self.numbers = dict(zip(record.options.nodes, NODE_NUMBERS, strict=False))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def running(self) -> tuple[str, ...]:
        """Return the names of the running nodes, ordered by number."""
        return tuple(
            name
            for name in self.numbers
            if name in self._running and self._running[name].poll() is None
        )

    def start(self, name: str) -> None:
        """Start a new node or one that was killed, without waiting for it.

        Raises ValueError if it is running.
        """
        if name in self.running():
            raise ValueError(f"node {name} is already running")
        number = self.numbers.setdefault(name, max(self.numbers.values(), default=1) + 1)
        folder, logs = self._site.node_folder(name), self._site.logs / name
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        (folder / "pid").unlink(missing_ok=True)
        connect_node(self._site, name, number, dual_stack=self._record.options.no_ipv6_route)
        enter_network = ("nsenter", f"--net=/run/netns/{name}")
        new_namespaces = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc")
        init = (sys.executable, "-m", "tests.cluster.node_init")
        with (logs / "init.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                (*enter_network, *new_namespaces, *init, str(self._site.folder), name, str(number)),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def raise_if_ended(self, name: str) -> None:
        """Raise WaitAborted with the end of the node's log if the node has exited."""
        if name not in self.running():
            log = self._site.logs / name / "init.log"
            raise WaitAborted(f"node {name} exited: {log.read_text()[-1500:]}")

    def kill(self, name: str) -> None:
        """Kill a node as a power failure does; its disk stays. Raises KeyError if it is down."""
        child = self._running.pop(name, None)
        if child is None:
            raise KeyError(f"node {name} is not running")
        pid_file = self._site.node_folder(name) / "pid"
        wait_for(f"the pid of {name}", pid_file.exists, timeout=10)
        # unshare exits when the node's first process and all its descendants are gone.
        os.kill(_to_lab_pid(int(pid_file.read_text())), signal.SIGKILL)
        child.wait(30)
        disconnect_node(name, self.numbers[name])
        # With stale cgroups, a rebooted node takes half a minute to restart its pods.
        remove_cgroups(self._site.cgroup(name))

    def wipe(self) -> None:
        """Kill all nodes and delete their disks. Added nodes are forgotten."""
        for name in self.running():
            self.kill(name)
        for name in tuple(self.numbers):
            folder = self._site.node_folder(name)
            shutil.rmtree(folder, ignore_errors=True)
        self.numbers = dict(zip(self._record.options.nodes, NODE_NUMBERS, strict=False))


def _to_lab_pid(machine_pid: int) -> int:
    """Return the PID in the lab's PID namespace of a process given by the machine's PID."""
    status = Path(f"/proc/{machine_pid}/status").read_text()
    row = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(row.split()[2])
