"""Agents keep what is in the ledger, and never what a rollback undoes meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    Target,
)
from deploy.cluster.client import Cluster
from deploy.manifests.agent import NODE_DEFAULTS_KEY, NODE_DEFAULTS_MAP, SYSTEM_NAMESPACE
from deploy.repair import node_agents
from mirror.agent import desired_state, node_defaults
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from mirror.core.errors import ClusterError

FILE, KEY = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf", "net.ipv6.conf.default.disable_ipv6"
BOOT = f"{KEY} = 1\n"
FIXES = ("host-sysctl",)
NOWHERE = cast("Cluster", None)


class FakeNodeEngine:
    """An engine that only knows the ledger. ``meanwhile`` runs at the second read of it."""

    def __init__(self, *entries: LedgerEntry, meanwhile: Callable[[], None] | None = None) -> None:
        self._entries, self._meanwhile, self._reads = list(entries), meanwhile, 0

    def entries(self) -> list[LedgerEntry]:
        self._reads += 1
        if self._meanwhile and self._reads == 2:
            self._meanwhile()
        return list(self._entries)


def entry(target: Target, written: bytes, fix: str = "host-sysctl", **fields: Any) -> LedgerEntry:
    edits = (AppliedEdit(edit=Edit(fix=fix), step=1, steps=1),)
    base = b"0\n" if isinstance(target, NodeSysctl) else None
    return LedgerEntry(target=target, base=base, edits=edits, written=written, **fields)


def sync(engine: FakeNodeEngine, *nodes: str) -> set[tuple[str, str]]:
    pods = {node: node for node in nodes}
    return node_agents.sync_agents(NOWHERE, cast("ChangeEngine", engine), FIXES, pods)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, HostPaths]:
    """The hosts of two nodes with agents; the agents of other nodes do not respond."""
    paths = {}
    for name in ("ra", "babel"):
        root = tmp_path / name
        for folder in ("etc/sysctl.d", "cni", "proc/ipv6/conf/default"):
            (root / folder).mkdir(parents=True)
        (root / "proc/ipv6/conf/default/disable_ipv6").write_text("1\n")
        (root / FILE.removeprefix("/")).write_text(BOOT)
        paths[name] = HostPaths(root=root, net=root / "proc")

    def ask_agent(_: Cluster, pod: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if pod not in paths:
            raise ClusterError("it does not respond")
        return handle_request(paths[pod], dict(request))

    monkeypatch.setattr(node_agents, "ask_agent", ask_agent)
    return paths


def read_stored(host: HostPaths) -> list[str]:
    return [stored.target for stored in desired_state.read(host)]


def test_each_agent_gets_the_targets_of_its_node(hosts: Mapping[str, HostPaths]) -> None:
    """The agent of a third node does not respond, so its target is not kept."""
    engine = FakeNodeEngine(
        entry(NodeFile(node="ra", path=FILE), BOOT.encode()),
        entry(NodeSysctl(node="ra", key=KEY), b"1\n"),
        entry(NodeFile(node="babel", path=FILE), BOOT.encode()),
        entry(NodeFile(node="seth", path=FILE), BOOT.encode()),
    )
    assert sync(engine, "ra", "babel", "seth") == {("ra", FILE), ("ra", KEY), ("babel", FILE)}
    assert sorted(read_stored(hosts["ra"])) == [FILE, KEY]
    assert read_stored(hosts["babel"]) == [FILE]
    kept = node_agents.read_kept_targets(NOWHERE, {"ra": "ra", "seth": "seth"})
    assert kept == {("ra", FILE), ("ra", KEY)}
    node_agents.stop_agents(NOWHERE, {"ra": "ra", "seth": "seth"})
    assert read_stored(hosts["ra"]) == []


def test_does_not_keep_pending_entries_or_those_of_other_fixes(
    hosts: Mapping[str, HostPaths],
) -> None:
    engine = FakeNodeEngine(
        entry(NodeFile(node="ra", path=FILE), BOOT.encode(), pending=True, intended=b"2\n"),
        entry(NodeSysctl(node="ra", key=KEY), b"1\n", fix="another"),
    )
    assert sync(engine, "ra") == set()
    assert not (hosts["ra"].root / "etc/pypi-mirror").exists()


def test_does_not_keep_what_is_rolled_back_after_the_ledger_was_read(
    hosts: Mapping[str, HostPaths],
) -> None:
    """The agent sees that the target has another version."""
    host = hosts["ra"]

    def roll_back() -> None:
        version = handle_request(host, {"do": "read", "target": FILE})["version"]
        write = {"do": "write", "target": FILE, "content": None, "seen": version, "frame": ""}
        assert "content" in handle_request(host, write)

    engine = FakeNodeEngine(
        entry(NodeFile(node="ra", path=FILE), BOOT.encode()), meanwhile=roll_back
    )
    assert sync(engine, "ra") == set()
    assert read_stored(host) == []


def test_keeps_node_defaults_while_they_are_in_the_ledger(
    hosts: Mapping[str, HostPaths], tmp_path: Path
) -> None:
    """A node that joined has no entries of its own, only the defaults that its agent applied."""
    defaults = tmp_path / "orders.json"
    babel = hosts["babel"]
    babel.resolve_file(FILE).unlink()
    defaults.write_text(json.dumps([{"target": FILE, "content": BOOT}]))
    node_defaults.apply_defaults(babel, defaults)
    target = ConfigMapKey(namespace=SYSTEM_NAMESPACE, name=NODE_DEFAULTS_MAP, key=NODE_DEFAULTS_KEY)
    file_entry = entry(NodeFile(node="ra", path=FILE), BOOT.encode())
    kept = sync(FakeNodeEngine(file_entry, entry(target, b"[]")), "ra", "babel")
    assert kept == {("ra", FILE), ("babel", FILE)}
    assert sync(FakeNodeEngine(file_entry), "ra", "babel") == {("ra", FILE)}
