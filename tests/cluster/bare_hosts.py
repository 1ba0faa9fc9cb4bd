"""Hosts without a cluster, for tests of the node agent.

A host is a network namespace with real settings, addresses and routes, a folder for its files, and
the agent's own code, which answers on a socket instead of through `kubectl exec`.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.changes.model import LedgerEntry, NodeFile, NodeSysctl
from deploy.changes.node_target import NodeDriver
from deploy.cluster.client import Cluster
from mirror.core.errors import ClusterError
from tests import REPOSITORY
from tests.cluster.process import run
from tests.cluster.waiting import wait_for
from tests.kill_hook import run_agent_killed_at

_SERVE = """
import json, socketserver, sys
from pathlib import Path
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
host = HostPaths(root=Path(sys.argv[1]))
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        request = json.loads(self.rfile.readline())
        with host.lock():
            self.wfile.write(json.dumps(handle_request(host, request)).encode())
socketserver.UnixStreamServer(sys.argv[2], Handler).serve_forever()
"""
_RECONCILE = """
import sys
from pathlib import Path
from mirror.agent.reconcile import NodeReconciler
from mirror.agent.host_paths import HostPaths
NodeReconciler(HostPaths(root=Path(sys.argv[1])), print, lambda text: None).reconcile()
"""
_LINK = """
link add eth0 type veth peer name far
link set lo up
link set far up
link set eth0 up
address add fd70::2/64 dev eth0 nodad
address add fd99::5/64 dev eth0 nodad
route add fd71::/48 via fd70::1
route add fd98::/64 via fd99::1 metric 77
"""


@dataclass(frozen=True, slots=True)
class BareHost:
    """A host. Its first process, pid, holds the namespaces."""

    root: Path
    pid: int

    @property
    def socket(self) -> str:
        return str(self.root / "agent.sock")

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """Run a program in the host's network namespace and return its output."""
        return run("nsenter", f"--net=/proc/{self.pid}/ns/net", *argv, stdin=stdin).stdout

    def ask_agent(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the agent and return its response."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.socket)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                response: dict[str, Any] = json.loads(stream.read())
                return response

    def reconcile_once(self) -> str:
        """Let the agent restore its desired state once, as its loop does; return its log."""
        return self.run(sys.executable, "-c", _RECONCILE, str(self.root))

    def restore_entry(self, entry: LedgerEntry) -> None:
        """Write the original content of a ledger entry to its target."""
        target = entry.target
        assert isinstance(target, NodeFile | NodeSysctl)
        target_name = target.path if isinstance(target, NodeFile) else target.key
        base = None if entry.base is None else base64.b64encode(entry.base).decode()
        snapshot = self.ask_agent({"do": "read", "target": target_name})
        write = {"do": "write", "target": target_name, "content": base, "frame": entry.metadata}
        assert "content" in self.ask_agent({**write, "seen": snapshot["version"]})

    @contextmanager
    def mount_read_only(self, path: str) -> Iterator[None]:
        """Make a path read-only for the agent until the block ends."""
        enter = ("nsenter", f"--mount=/proc/{self.pid}/ns/mnt")
        run(*enter, "mount", "--bind", path, path)
        run(*enter, "mount", "-o", "remount,bind,ro", path)
        try:
            yield
        finally:
            run(*enter, "umount", path)

    def kill_agent_at(self, number: int, request: Mapping[str, Any]) -> bool:
        """Send a request to an agent that is killed before change ``number``; whether it was.

        Netlink messages set addresses and routes; each goes through a socket that is bound first.
        """
        return run_agent_killed_at(
            number,
            *("--root", str(self.root)),
            request=json.dumps(request),
            events=("socket.bind",),
            prefix=("nsenter", f"--net=/proc/{self.pid}/ns/net"),
        )

    def read_state(self) -> dict[str, str]:
        """Return files with modes and contents, settings, addresses and routes."""
        files = sorted(path for path in (self.root / "etc").rglob("*"))
        state = {
            str(path): f"{path.stat().st_mode:o} {path.read_text() if path.is_file() else ''}"
            for path in files
        }
        for name in ("all", "default", "lo", "eth0", "far"):
            state[name] = self.run("cat", f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
        state["addresses"] = self.run("ip", "-6", "address", "show", "scope", "global")
        state["::1"] = self.run("ip", "-6", "address", "show", "dev", "lo")
        routes = self.run("ip", "-6", "route")
        state["routes"] = "\n".join(line for line in routes.splitlines() if "fe80" not in line)
        return state


class BareHostDriver(NodeDriver):
    """A NodeDriver that sends its requests to bare hosts."""

    def __init__(self, cluster: Cluster, hosts: Mapping[str, BareHost]) -> None:
        super().__init__(cluster, lambda: None)
        self._pods = {name: host.socket for name, host in hosts.items()}

    def lose_node(self, node: str) -> None:
        """Make a node unreachable."""
        self._pods = {name: pod for name, pod in (self._pods or {}).items() if name != node}

    def _has_ended(self, name: str) -> bool:
        return False


def ask_bare_host(_: Cluster, pod: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent of a bare host. Replaces deploy.evidence.node_agent.ask_agent."""
    response = BareHost(Path(pod).parent, 0).ask_agent(request)
    if "refused" in response:
        raise ClusterError("the agent refused", why=str(response["refused"]))
    return response


@contextmanager
def bare_host(root: Path, conflist: str) -> Iterator[BareHost]:
    """Run a host until the block ends. It dies with this process."""
    for folder in ("etc/cni/net.d", "etc/sysctl.d", "cni"):
        (root / folder).mkdir(parents=True)
    (root / "cni/tuning").touch()
    (root / "etc/cni/net.d/10-calico.conflist").write_text(conflist)
    (root / "etc/cni/net.d/10-calico.conflist").chmod(0o600)
    namespaces = ("unshare", "--net", "--mount")
    command = ("setpriv", "--pdeathsig", "KILL", *namespaces, sys.executable, "-c", _SERVE)
    socket_path = str(root / "agent.sock")
    child = subprocess.Popen(
        (*command, str(root), socket_path), cwd=REPOSITORY, stdin=subprocess.DEVNULL
    )
    try:
        wait_for("the agent's socket", Path(socket_path).exists, timeout=30)
        host = BareHost(root, child.pid)
        host.run("ip", "-6", "-batch", "-", stdin=_LINK)
        yield host
    finally:
        child.kill()
        child.wait(20)
