"""A conflist that a node's agent keeps, and what it told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.formats.conflist import disable_ipv6
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from mirror.agent.reconcile import NodeReconciler
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE
from tests.cluster.node_fix_cluster import fill_placeholders
from tests.unit.mirror.agent.agent_client import FILE, request_read, request_write

BASE = fill_placeholders(CNI_CONFIG_TEMPLATE % "true").encode()
WRITTEN = disable_ipv6(BASE.decode()).encode()


class ReconcilerHarness:
    """A keeper of this host, what it told, and its clock."""

    def __init__(self, host: HostPaths, mark: Path = Path("/nowhere")) -> None:
        self.host, self.messages = host, list[str]()
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = NodeReconciler(
            host, lambda _: None, self.messages.append, lambda: self.clock, mark
        )

    def reconcile(self) -> bytes | None:
        self.reconciler.reconcile()
        path = self.host.resolve_file(FILE)
        return path.read_bytes() if path.exists() else None


def encode(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def desired_target(
    host: HostPaths, target: str, base: bytes | None, written: bytes, **more: Any
) -> Any:
    seen = request_read(host, target)["version"]
    fixes = ["pod-sysctl" if target == FILE else "host-sysctl"]
    told = {"target": target, "base": encode(base), "written": encode(written), "fixes": fixes}
    return {**told, "seen": seen, **more}


def request_keep(host: HostPaths, *given: Any, orders: bool = False) -> list[str]:
    told = handle_request(host, {"do": "keep", "pages": list(given), "orders": orders})
    return list(told["keeps"])


def apply_and_keep_fix(host: HostPaths) -> None:
    """A conflist with the fix, and kept."""
    request_write(host, FILE, WRITTEN, request_read(host, FILE))
    assert request_keep(host, desired_target(host, FILE, BASE, WRITTEN)) == [FILE]


def read_disable_ipv6(host: HostPaths, name: str = "all") -> str:
    return (host.net / f"ipv6/conf/{name}/disable_ipv6").read_text()
