"""Agents are told to keep what the ledger holds, and never what somebody undoes meanwhile."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

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

FILE, KEY = "/etc/sysctl.d/zz.conf", "net.ipv6.conf.default.disable_ipv6"
FIXES = ("host-sysctl",)
NOWHERE = cast("Cluster", None)


class FakeNodeEngine:
    """An engine that only knows what is in the ledger; ``meanwhile`` happens at a second look."""

    def __init__(self, *entries: LedgerEntry, meanwhile: Callable[[], None] | None = None) -> None:
        self._entries, self._meanwhile, self._looks = list(entries), meanwhile, 0

    def entries(self) -> list[LedgerEntry]:
        found = list(self._entries)
        self._looks += 1
        if self._meanwhile and self._looks == 2:
            self._meanwhile()
        return found


def entry(target: Target, written: bytes, fix: str = "host-sysctl", **more: Any) -> LedgerEntry:
    edits = (AppliedEdit(edit=Edit(fix=fix), step=1, steps=1),)
    return LedgerEntry(target=target, base=b"0\n", edits=edits, written=written, **more)


def tell(works: FakeNodeEngine, *nodes: str) -> set[tuple[str, str]]:
    return node_agents.sync_agents(NOWHERE, cast(Any, works), FIXES, {one: one for one in nodes})


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, HostPaths]:
    """Two nodes with their agents, and a third whose agent does not answer."""
    made = {}
    for name in ("ra", "babel"):
        root = tmp_path / name
        for folder in ("etc/sysctl.d", "cni", "proc/ipv6/conf/default"):
            (root / folder).mkdir(parents=True)
        (root / "proc/ipv6/conf/default/disable_ipv6").write_text("1\n")
        (root / "etc/sysctl.d/zz.conf").write_text("1\n")
        made[name] = HostPaths(root=root, net=root / "proc")

    def ask(_: Cluster, pod: str, question: Mapping[str, Any]) -> dict[str, Any]:
        if pod not in made:
            raise ClusterError("it does not answer")
        return handle_request(made[pod], dict(question))

    monkeypatch.setattr(node_agents, "ask_agent", ask)
    return made


def stored(place: HostPaths) -> list[str]:
    return [one.target for one in desired_state.read(place)]


def test_each_agent_is_told_its_own_and_one_that_is_away_is_not(
    places: Mapping[str, HostPaths],
) -> None:
    works = FakeNodeEngine(
        entry(NodeFile(node="ra", path=FILE), b"1\n"),
        entry(NodeSysctl(node="ra", key=KEY), b"1\n"),
        entry(NodeFile(node="babel", path=FILE), b"1\n"),
        entry(NodeFile(node="seth", path=FILE), b"1\n"),
    )
    told = tell(works, "ra", "babel", "seth")
    assert told == {("ra", FILE), ("ra", KEY), ("babel", FILE)}
    assert sorted(stored(places["ra"])) == [FILE, KEY]
    assert stored(places["babel"]) == [FILE]
    assert node_agents.read_kept_targets(NOWHERE, {"ra": "ra", "seth": "seth"}) == {
        ("ra", FILE),
        ("ra", KEY),
    }
    node_agents.stop_agents(NOWHERE, {"ra": "ra", "seth": "seth"})
    assert stored(places["ra"]) == []


def test_what_is_written_just_now_or_is_no_fix_of_ours_is_not_kept(
    places: Mapping[str, HostPaths],
) -> None:
    works = FakeNodeEngine(
        entry(NodeFile(node="ra", path=FILE), b"1\n", pending=True, intended=b"2\n"),
        entry(NodeSysctl(node="ra", key=KEY), b"1\n", fix="another"),
    )
    assert tell(works, "ra") == set()
    assert not (places["ra"].root / "etc/pypi-mirror").exists()


def test_what_is_rolled_back_after_its_entry_was_read_is_not_kept(
    places: Mapping[str, HostPaths],
) -> None:
    """The agent sees that it is not what it was."""
    place = places["ra"]

    def rollback() -> None:
        seen = handle_request(place, {"do": "read", "target": FILE})["version"]
        made = base64.b64encode(b"0\n").decode()
        ask = {"do": "write", "target": FILE, "content": made, "seen": seen, "frame": ""}
        assert "content" in handle_request(place, ask)

    works = FakeNodeEngine(entry(NodeFile(node="ra", path=FILE), b"1\n"), meanwhile=rollback)
    assert tell(works, "ra") == set()
    assert stored(place) == []


def test_what_came_by_order_on_a_node_without_entries_is_kept_while_the_orders_stand(
    places: Mapping[str, HostPaths], tmp_path: Path
) -> None:
    place = places["babel"]
    orders = tmp_path / "orders.json"
    orders.write_text('[{"target": "/etc/sysctl.d/yy.conf", "content": "x"}]')
    node_defaults.apply_defaults(place, orders)
    above = entry(
        ConfigMapKey(namespace=SYSTEM_NAMESPACE, name=NODE_DEFAULTS_MAP, key=NODE_DEFAULTS_KEY),
        b"[]",
    )
    here = entry(NodeFile(node="ra", path=FILE), b"1\n")
    told = tell(FakeNodeEngine(here, above), "ra", "babel")
    assert told == {("ra", FILE), ("babel", "/etc/sysctl.d/yy.conf")}
    assert tell(FakeNodeEngine(here), "ra", "babel") == {("ra", FILE)}
