"""The nodes' hosts: CNI files, links, addresses and sysctls, as the node agent reports them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deploy.cluster.client import Cluster
from deploy.cluster.explain import explain_pod
from deploy.cluster.objects import get_name
from deploy.evidence.node_agent import (
    AGENT_LABELS,
    ask_agent,
    ensure_agents,
    find_foreign_agents,
)
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.manifests.agent import SYSTEM_NAMESPACE
from mirror.agent.allowlist import CNI_FOLDERS
from mirror.core.codec import json_key, load
from mirror.core.errors import ClusterError
from mirror.core.progress import Progress

NO_AGENT = (
    "no node agent runs, and no image is recorded for it: `mirror up` records one, or give "
    "--image REF"
)
_NOT_READY = "the node is not Ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistFile:
    """A CNI configuration file, by its path on the node."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlLine:
    """A line of the boot-time sysctl files that sets disable_ipv6."""

    path: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host.

    ``conflists`` are sorted by name; the container runtime uses the first one. ``links`` are (link,
    disable_ipv6 of the link), including `all` and `default`; empty if the kernel has no IPv6.
    ``addresses`` are IPv6 addresses that are not link-local, as LINK ADDRESS/PREFIX. ``reconciled``
    lists what the node defaults changed there. ``rejected`` are lines about what the agent was
    given and does not obey: no fix can have written it.
    """

    net_d: str
    conflists: tuple[ConflistFile, ...]
    plugins: tuple[str, ...]
    allowlist: str | None
    links: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    sysctl_lines: tuple[SysctlLine, ...]
    reconciled: tuple[str, ...] = field(default=(), metadata=json_key("kept"))
    rejected: tuple[str, ...] = ()

    def get_disable_ipv6(self, link: str) -> str | None:
        """Return disable_ipv6 of a link; None if there is no such link."""
        return next((value for name, value in self.links if name == link), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHost:
    """What the node agent reports about one host."""

    node: str
    view: MaybeSeen[HostView]


def read_hosts(
    cluster: Cluster, image: str | None, nodes: tuple[NodeState, ...], progress: Progress
) -> MaybeSeen[tuple[NodeHost, ...]]:
    """Ask the agent on every node; a node that is not Ready or has no agent is Unseen.

    With an ``image``, agents are started where they do not run.
    """
    pods = ensure_agents(cluster, image, nodes, progress)
    foreign = find_foreign_agents(cluster)
    if not pods and not foreign:
        return Unseen(reason=NO_AGENT)
    with ThreadPoolExecutor(8) as pool:
        views = pool.map(
            lambda node: _read_view(cluster, node, pods.get(node.name), foreign.get(node.name)),
            nodes,
        )
        return tuple(
            NodeHost(node=node.name, view=view) for node, view in zip(nodes, views, strict=True)
        )


def assume_hosts(nodes: tuple[NodeState, ...], template: str | None) -> tuple[NodeHost, ...]:
    """Return what Ready nodes have as a rule, to plan from without starting an agent.

    ``template`` is the text that calico-node writes to each node; without it the CNI is unknown.
    """
    name = "10-calico.conflist" if template else "(the first).conflist"
    hosts = []
    for node in nodes:
        folder = CNI_FOLDERS[node.distribution == "microk8s"]
        text = template or '{"plugins": [{"type": "unknown"}]}'
        view = HostView(
            net_d=folder,
            conflists=(ConflistFile(path=f"{folder}/{name}", text=text),),
            plugins=("tuning",),
            allowlist=None,
            links=(("all", "0"), ("default", "0"), ("lo", "0")),
            addresses=(),
            sysctl_lines=(),
        )
        away: MaybeSeen[HostView] = Unseen(reason=_NOT_READY)
        hosts.append(NodeHost(node=node.name, view=view if node.ready else away))
    return tuple(hosts)


def _read_view(
    cluster: Cluster, node: NodeState, pod: str | None, why_not: str | None
) -> MaybeSeen[HostView]:
    if not node.ready:
        return Unseen(reason=_NOT_READY)
    if pod is None and why_not:
        return Unseen(reason=why_not)
    if pod is None:
        pods = cluster.list(
            "Pod", SYSTEM_NAMESPACE, labels=AGENT_LABELS, fields=f"spec.nodeName={node.name}"
        )
        why = explain_pod(cluster, SYSTEM_NAMESPACE, get_name(pods[0])) if pods else "no pod"
        return Unseen(reason=f"the node agent does not run: {why}")
    try:
        return load(HostView, ask_agent(cluster, pod, {"do": "look"}))
    except (ClusterError, ValueError) as error:
        return Unseen(reason=str(error))
