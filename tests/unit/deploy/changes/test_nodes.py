"""Changes on nodes: agents that are evicted in the middle, long names of nodes, large files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from deploy.changes.model import Change, Edit, NodeFile, NodeSysctl, Target
from deploy.changes.update import TargetFailure
from deploy.fix_registry import build_engine
from tests.kubernetes_api import DirectCluster, MemoryApi
from tests.kubernetes_api.failures import When
from tests.unit.deploy.changes.memory_nodes import MemoryNodes

FIX = "host-sysctl"
BOOT_FILE, SYSCTL_CONF = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf", "/etc/sysctl.conf"
# the length limit of a name in Kubernetes, 253 characters
LONG_NAME = ".".join(["node" + "x" * 59] * 3 + ["y" * 61])


def list_changes(nodes: Iterable[str]) -> list[Change]:
    targets: list[Target] = []
    for node in nodes:
        targets += [
            NodeFile(node=node, path=BOOT_FILE),
            NodeFile(node=node, path=SYSCTL_CONF),
            NodeSysctl(node=node, key="net.ipv6.conf.default.disable_ipv6"),
        ]
    return [Change(target=target, edit=Edit(fix=FIX), why="") for target in targets]


def write_sysctl_conf(nodes: MemoryNodes, text: str) -> None:
    for host in nodes.hosts.values():
        (host.root / "etc/sysctl.conf").write_text(text)


def apply(api: MemoryApi, nodes: MemoryNodes) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan(list_changes(nodes.hosts)):
            engine.apply(update)


def roll_back(api: MemoryApi) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan_rollback([FIX]):
            engine.apply(update)
    assert engine.entries() == []


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_eviction_at_any_request_is_survived(
    api: MemoryApi, tmp_path: Path, moment: str
) -> None:
    """Before the agent does what it is asked, and after it, before it can answer."""
    nodes = MemoryNodes(api, tmp_path, "ra")
    write_sysctl_conf(nodes, "kernel.panic = 1\nnet.ipv6.conf.all.disable_ipv6 = 1\n")
    before = nodes.read_files("ra")
    apply(api, nodes)
    fixed, total = nodes.read_files("ra"), len(nodes.requests)
    assert fixed["etc/sysctl.conf"] == b"kernel.panic = 1\n"
    roll_back(api)
    assert nodes.read_files("ra") == before
    assert total == 6, "each of three targets is read and written"

    actions: tuple[Callable[[], None], ...] = (partial(apply, api, nodes), partial(roll_back, api))
    for number in range(1, total + 1):
        for action in actions:
            count = itertools.count(1)

            def evict(
                node: str,
                now: When,
                count: itertools.count[int] = count,
                at: int = number,
            ) -> None:
                if now == moment and next(count) == at:
                    nodes.evict(node)

            nodes.disturb = evict
            action()
            nodes.disturb = None
            is_fixed = bool(build_engine(DirectCluster(api)).entries())
            assert nodes.read_files("ra") == (fixed if is_fixed else before), number
        assert nodes.read_files("ra") == before


def test_the_name_of_a_node_may_be_as_long_as_kubernetes_allows(
    api: MemoryApi, tmp_path: Path
) -> None:
    assert len(LONG_NAME) == 253
    nodes = MemoryNodes(api, tmp_path, LONG_NAME)
    write_sysctl_conf(nodes, "net.ipv6.conf.all.disable_ipv6 = 1\n")
    before = nodes.read_files(LONG_NAME)
    apply(api, nodes)
    assert nodes.read_files(LONG_NAME)["etc/sysctl.conf"] == b""
    targets = [entry.target for entry in build_engine(DirectCluster(api)).entries()]
    assert sorted(map(str, targets)) == sorted(str(c.target) for c in list_changes([LONG_NAME]))
    roll_back(api)
    assert nodes.read_files(LONG_NAME) == before


def test_a_file_of_more_than_a_mebibyte_stays_as_it_is(api: MemoryApi, tmp_path: Path) -> None:
    """A ConfigMap cannot hold its original. The other targets are written and undone."""
    nodes = MemoryNodes(api, tmp_path, "ra")
    text = "# a comment of a file that has grown\n" * 30_000 + "net.ipv6.conf.all.disable_ipv6=1\n"
    assert len(text) > 1 << 20
    write_sysctl_conf(nodes, text)
    before = nodes.read_files("ra")
    engine = build_engine(DirectCluster(api))
    failures: list[TargetFailure] = []
    with engine.hold_lease():
        for update in engine.plan(list_changes(["ra"]), failures):
            engine.apply(update)
    (failure,) = failures
    assert "/etc/sysctl.conf is not a regular file of at most 1048576 bytes" in str(failure)
    fixed = nodes.read_files("ra")
    assert fixed["etc/sysctl.conf"].decode() == text
    assert fixed["proc/ipv6/conf/default/disable_ipv6"] == b"1\n"
    roll_back(api)
    assert nodes.read_files("ra") == before
