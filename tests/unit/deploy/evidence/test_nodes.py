"""On which nodes pods of ours can run."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import Cluster
from deploy.cluster.objects import explain_unusable
from deploy.evidence.nodes import read_nodes, read_nodes_and_others

VIRTUAL = {"key": "virtual-kubelet.io/provider", "value": "example", "effect": "NoSchedule"}


def new_node(
    name: str,
    system: str = "linux",
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}]
    info = {"operatingSystem": system, "architecture": "amd64", "kubeletVersion": "v1.33.1"}
    metadata = {"name": name, "labels": labels or {}}
    status = {"conditions": conditions, "nodeInfo": info}
    return {"metadata": metadata, "spec": {"taints": taints or []}, "status": status}


class Nodes:
    def list(self, kind: str) -> list[dict[str, Any]]:
        assert kind == "Node"
        return [
            new_node("win-1", "windows"),
            new_node("lin-2"),
            new_node("virtual-1", taints=[VIRTUAL]),
            new_node("lin-1", taints=[{"key": "other", "effect": "NoSchedule"}]),
        ]


def test_passes_over_nodes_that_run_no_linux_pods() -> None:
    cluster = cast(Cluster, Nodes())
    assert [node.name for node in read_nodes(cluster)] == ["lin-1", "lin-2"]
    _, others = read_nodes_and_others(cluster)
    assert others == (
        "node virtual-1 is virtual, without a kubelet: passed over",
        "node win-1 runs windows: passed over",
    )


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (new_node("a"), ""),
        (new_node("a", ""), ""),
        (new_node("a", "", {"kubernetes.io/os": "windows"}), "runs windows"),
        (new_node("a", "windows"), "runs windows"),
        (new_node("a", labels={"type": "virtual-kubelet"}), "is virtual, without a kubelet"),
        (new_node("a", labels={"type": "worker"}), ""),
        ({"metadata": {"name": "a"}}, ""),
    ],
)
def test_says_why_a_node_is_unusable(node: dict[str, Any], why: str) -> None:
    assert explain_unusable(node) == why
