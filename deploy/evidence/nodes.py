"""Nodes as the API server reports them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import (
    explain_unusable,
    get_condition,
    get_internal_ips,
    get_name,
    has_condition,
    is_ready,
)

_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node. ``addresses`` are its InternalIPs of both families."""

    name: str
    ready: bool
    architecture: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    trouble: str = ""  # why it is not Ready
    pressures: tuple[str, ...] = ()  # DiskPressure, MemoryPressure, …
    cordoned: bool = False
    kubelet: str = ""  # its version
    os_image: str = ""
    distribution: str = ""  # microk8s, k3s or rke2; empty if unknown


def read_nodes(cluster: Cluster) -> tuple[NodeState, ...]:
    """Return the nodes on which pods of ours can run, sorted by name."""
    nodes, _ = read_nodes_and_others(cluster)
    return nodes


def read_nodes_and_others(cluster: Cluster) -> tuple[tuple[NodeState, ...], tuple[str, ...]]:
    """Return the nodes as `read_nodes` does, and a line for each of the others."""
    nodes, others = [], []
    for node in cluster.list("Node"):
        if reason := explain_unusable(node):
            others.append(f"node {get_name(node)} {reason}: passed over")
        else:
            nodes.append(_read_node(node))
    return tuple(sorted(nodes, key=lambda node: node.name)), tuple(sorted(others))


def _read_node(node: Object) -> NodeState:
    spec = node.get("spec", {})
    info = node.get("status", {}).get("nodeInfo", {})
    kubelet = info.get("kubeletVersion", "")
    return NodeState(
        name=get_name(node),
        ready=is_ready(node),
        architecture=info.get("architecture", ""),
        addresses=get_internal_ips(node),
        pod_cidrs=tuple(spec.get("podCIDRs", [])),
        trouble=_explain_not_ready(node),
        pressures=tuple(pressure for pressure in _PRESSURES if has_condition(node, pressure)),
        cordoned=bool(spec.get("unschedulable")),
        kubelet=kubelet,
        os_image=info.get("osImage", ""),
        distribution=_detect_distribution(node["metadata"].get("labels", {}), kubelet),
    )


def _explain_not_ready(node: Object) -> str:
    ready = get_condition(node, "Ready")
    if ready is None or ready["status"] == "True":
        return ""
    return f"{ready.get('reason', '')}: {ready.get('message', '')}"


def _detect_distribution(labels: Object, kubelet: str) -> str:
    """Return the Kubernetes distribution, detected by node labels or the kubelet's version."""
    if any("microk8s" in label for label in labels):
        return "microk8s"
    return next((name for name in ("k3s", "rke2") if f"+{name}" in kubelet), "")
