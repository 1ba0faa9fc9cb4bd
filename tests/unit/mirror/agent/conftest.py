"""A folder that stands for a host, and a reconciler for it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from mirror.agent.host_paths import HostPaths
from tests.unit.mirror.agent.agent_client import FILE, OLD
from tests.unit.mirror.agent.reconciling import BASE, ReconcilerHarness


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host with a part of /etc, an empty folder of CNI plugins and network settings."""
    for folder in ("etc/cni/net.d", "etc/sysctl.d", "cni", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    for link in ("all", "default", "lo", "eth0"):
        conf = tmp_path / "proc/ipv6/conf" / link
        conf.mkdir(parents=True)
        (conf / "disable_ipv6").write_text("0\n")
    (tmp_path / "etc/cni/net.d/10-calico.conflist").write_bytes(OLD)
    (tmp_path / "etc/cni/net.d/10-calico.conflist").chmod(0o600)
    return HostPaths(root=tmp_path, net=tmp_path / "proc", cni=PurePosixPath("/opt/cni/bin"))


@pytest.fixture
def reconciler(host: HostPaths) -> ReconcilerHarness:
    """The host's reconciler; the conflist has no fix yet."""
    host.resolve_file(FILE).write_bytes(BASE)
    return ReconcilerHarness(host)
