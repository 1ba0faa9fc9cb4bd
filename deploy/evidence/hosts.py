"""What the node agent sees of a host. Data only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.cluster.explain import explain_pod
from deploy.evidence.node_agent import AGENT_LABELS, ask_agent, ensure_agents
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.manifests.agent import SYSTEM_NAMESPACE
from mirror.core.codec import load
from mirror.core.errors import ClusterError
from mirror.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistFile:
    """A CNI configuration on a node, by its path there."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlLine:
    """A line of the boot's settings that decides on IPv6."""

    path: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host. ``links`` are (link, its disable_ipv6), `all` and `default` among them; empty:
    the kernel has no IPv6. ``addresses``: IPv6, not link-local, as LINK ADDRESS/PREFIX.
    ``conflists`` in the order in which a runtime takes the first; ``kept``: what standing orders
    changed there by themselves.
    """

    net_d: str
    conflists: tuple[ConflistFile, ...]
    plugins: tuple[str, ...]
    allowlist: str | None
    links: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    sysctl_lines: tuple[SysctlLine, ...]
    kept: tuple[str, ...] = ()

    def get_disable_ipv6(self, name: str) -> str | None:
        """disable_ipv6 of a link; None where there is none."""
        return next((value for link, value in self.links if link == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHost:
    """What the node agent sees of one host."""

    node: str
    view: MaybeSeen[HostView]


def read_hosts(
    cluster: Cluster, image: str | None, nodes: tuple[NodeState, ...], progress: Progress
) -> MaybeSeen[tuple[NodeHost, ...]]:
    """Every node as its agent sees it; one that is not Ready, or has none, is Unseen."""
    pods = ensure_agents(cluster, image, nodes, progress)
    if not pods:
        return Unseen(reason="no node agent: give --image REF, or bring the mirror up (mirror up)")

    def one(node: NodeState) -> NodeHost:
        return NodeHost(node=node.name, view=_view(cluster, node, pods.get(node.name)))

    with ThreadPoolExecutor(8) as pool:
        return tuple(pool.map(one, nodes))


def _view(cluster: Cluster, node: NodeState, pod: str | None) -> MaybeSeen[HostView]:
    if not node.ready:
        return Unseen(reason="the node is not Ready")
    if pod is None:
        pods = cluster.list(
            "Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS, fields=f"spec.nodeName={node.name}"
        )
        named = [one["metadata"]["name"] for one in pods]
        why = explain_pod(cluster, SYSTEM_NAMESPACE, named[0]) if named else "no pod"
        return Unseen(reason=f"the node agent does not run: {why}")
    try:
        return load(HostView, ask_agent(cluster, pod, {"do": "look"}))
    except (ClusterError, ValueError) as broken:
        return Unseen(reason=str(broken))
