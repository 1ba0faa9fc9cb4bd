"""Sends requests to the node agent in this process, or in one that is killed before a change."""

from __future__ import annotations

import json
from typing import Any

from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from mirror.snapshot import encode_content
from tests.kill_hook import run_agent_killed_at, run_killed_at

FILE = "/etc/cni/net.d/10-calico.conflist"
OLD = b'{"plugins": [{"type": "calico"}]}'
NEW = (
    b'{"plugins": [{"type": "calico"}, '
    b'{"type": "tuning", "sysctl": {"net.ipv6.conf.lo.disable_ipv6": "0"}}]}'
)

_RECONCILE = """
from pathlib import Path
from mirror.agent.reconcile import NodeReconciler
from mirror.agent.host_paths import HostPaths
host = HostPaths(root=Path(sys.argv[1]), net=Path(sys.argv[2]))
reconciler = NodeReconciler(host, print, lambda text: None)
sys.addaudithook(kill_before_change)
reconciler.reconcile()
"""


def build_write_request(
    target: str, content: bytes | None, version: str, metadata: str = ""
) -> dict[str, Any]:
    encoded = encode_content(content)
    request = {"do": "write", "target": target, "content": encoded}
    return {**request, "seen": version, "frame": metadata}


def request_read(host: HostPaths, target: str) -> dict[str, Any]:
    return handle_request(host, {"do": "read", "target": target})


def request_write(
    host: HostPaths, target: str, content: bytes | None, current: dict[str, Any]
) -> dict[str, Any]:
    """Write over what a read (or an earlier write) answered."""
    request = build_write_request(target, content, current["version"], current["frame"])
    return handle_request(host, request)


def read_tree(host: HostPaths) -> dict[str, bytes]:
    return {
        str(path.relative_to(host.root)): path.read_bytes()
        for path in sorted(host.root.rglob("*"))
        if path.is_file()
    }


def survives_kill_at(host: HostPaths, number: int, request: dict[str, Any]) -> bool:
    """Whether an agent that is killed before change ``number`` answers the request first."""
    options = ("--root", str(host.root), "--net", str(host.net))
    line = json.dumps(request)
    return not run_agent_killed_at(number, *options, request=line, events=("os.chmod",))


def reconcile_survives_kill_at(host: HostPaths, number: int) -> bool:
    """Whether one reconciliation ends before change ``number``, where it would be killed."""
    folders = (str(host.root), str(host.net))
    return not run_killed_at(number, _RECONCILE, *folders, events=("os.chmod",))
