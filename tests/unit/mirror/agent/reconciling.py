"""A reconciler of a node, its reports and its clock, and the targets it is asked to keep."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.formats.conflist import disable_ipv6
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from mirror.agent.reconcile import NodeReconciler
from mirror.snapshot import encode_content
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE
from tests.cluster.node_fix_cluster import fill_placeholders
from tests.unit.mirror.agent.agent_client import FILE, request_read, request_write

# the host is a folder, but its addresses and routes are those of this machine
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="restores IPv6 addresses")

BASE = fill_placeholders(CNI_CONFIG_TEMPLATE % "true").encode()
WRITTEN = disable_ipv6(BASE.decode()).encode()


class ReconcilerHarness:
    """Reconciles a host and records the Events."""

    def __init__(self, host: HostPaths, marker: Path = Path("/nowhere")) -> None:
        self.host, self.messages = host, list[str]()
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = NodeReconciler(
            host, lambda _: None, self.messages.append, lambda: self.clock, marker
        )

    def reconcile(self) -> bytes | None:
        """Reconcile once and return the content of the conflist."""
        self.reconciler.reconcile()
        path = self.host.resolve_file(FILE)
        return path.read_bytes() if path.exists() else None


def build_desired_target(
    host: HostPaths, target: str, base: bytes | None, written: bytes
) -> dict[str, Any]:
    """One target of a `keep` request, at the version it has now."""
    return {
        "target": target,
        "base": encode_content(base),
        "written": encode_content(written),
        "fixes": ["pod-sysctl" if target == FILE else "host-sysctl"],
        "seen": request_read(host, target)["version"],
    }


def request_keep(
    host: HostPaths, *targets: dict[str, Any], include_defaults: bool = False
) -> list[str]:
    """Replace the desired state; return its targets."""
    request = {"do": "keep", "pages": list(targets), "orders": include_defaults}
    return list(handle_request(host, request)["keeps"])


def apply_and_keep_fix(host: HostPaths) -> None:
    """Write the fix into the conflist, and ask the agent to keep it."""
    request_write(host, FILE, WRITTEN, request_read(host, FILE))
    assert request_keep(host, build_desired_target(host, FILE, BASE, WRITTEN)) == [FILE]


def write_defaults_file(folder: Path, defaults: dict[str, str]) -> Path:
    """Write node defaults as the agent's pod mounts them: targets with their contents."""
    path = folder / "orders.json"
    entries = [{"target": target, "content": content} for target, content in defaults.items()]
    path.write_text(json.dumps(entries))
    return path


def disable_ipv6_path(host: HostPaths, link: str = "all") -> Path:
    return host.net / f"ipv6/conf/{link}/disable_ipv6"


def make_settings_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every write of a setting fail."""

    def raise_read_only(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", raise_read_only)
