"""Collect evidence: each subject once, all in parallel, before one deadline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.cluster.cidrs import list_api_addresses
from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.access import read_access
from deploy.evidence.agent_image import AgentImage
from deploy.evidence.calico import read_calico, read_ip_pools
from deploy.evidence.coredns import read_coredns, read_corefile
from deploy.evidence.dns import NodeDns, probe_dns, read_dns_pods, read_dns_service
from deploy.evidence.events import read_warning_events
from deploy.evidence.fixes import read_reconciler
from deploy.evidence.hosts import NodeHost, read_hosts
from deploy.evidence.mirror import read_mirror
from deploy.evidence.model import Evidence, EvidenceGap, Need
from deploy.evidence.nodes import NodeState, read_nodes_and_others
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.evidence.workloads import read_workloads
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.errors import InputError
from mirror.core.progress import SILENT, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """Where and how to look.

    ``namespace`` is the mirror's; the probe pods run there if it exists. ``image`` is the probe
    pods' image; without it, or without ``names``, the evidence of probe pods is Unseen.
    """

    namespace: str
    image: str | None = None
    nodes: tuple[str, ...] = ()  # empty: all Ready nodes
    names: tuple[str, ...] = ()  # HOST or HOST:PORT, looked up by the probe pods
    mirror: str | None = None  # ADDRESS:PORT that workloads use; the probe pods connect to it
    start_agents: bool = False  # start the node agent where it does not run
    agent_image: AgentImage | None = None  # of node agents: never the one of the mirror's pods


def collect(
    cluster: Cluster, needs: frozenset[Need], options: CollectOptions, progress: Progress = SILENT
) -> Evidence:
    """Collect everything that is needed; what cannot be seen is Unseen with the reason.

    Raises ClusterError only if the API server does not answer at all, InputError for a node that
    does not exist.
    """
    progress.step(f"look at context {cluster.context} ({cluster.server})")
    cluster.version()
    left_out: list[EvidenceGap] = []
    readers = _build_readers(options, left_out)
    selected = [need for need in readers if need in needs or need is Need.NODES]
    with ThreadPoolExecutor(len(selected) + 2) as pool:
        futures = {need: pool.submit(_read, readers[need], cluster) for need in selected}
        subjects: dict[str, Any] = {}
        if Need.POD_DNS in needs:
            # pods take the longest: the other subjects are read in the meantime
            nodes = futures[Need.NODES].result()
            subjects[Need.POD_DNS.value] = _read_pod_dns(cluster, options, nodes, progress)
        if Need.HOSTS in needs:
            nodes = futures[Need.NODES].result()
            subjects[Need.HOSTS.value] = _read(_read_hosts, cluster, options, nodes, progress)
        subjects |= {need.value: future.result() for need, future in futures.items()}
    return Evidence(
        context=cluster.context,
        server=cluster.server,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        left_out=tuple(left_out),
        **subjects,
    )


def _build_readers(
    options: CollectOptions, left_out: list[EvidenceGap]
) -> dict[Need, Callable[[Cluster], Any]]:
    """Return the reader of each subject that is in the API; gaps are added to ``left_out``."""

    def read_all_workloads(cluster: Cluster) -> Any:
        workloads, gaps = read_workloads(cluster, options.namespace)
        left_out.extend(EvidenceGap(need=Need.WORKLOADS, reason=reason) for reason in gaps)
        return workloads

    def read_all_nodes(cluster: Cluster) -> tuple[NodeState, ...]:
        nodes, others = read_nodes_and_others(cluster)
        left_out.extend(
            EvidenceGap(need=Need.NODES, reason=reason, expected=True) for reason in others
        )
        return nodes

    return {
        Need.NODES: read_all_nodes,
        Need.DNS_SERVICE: read_dns_service,
        Need.DNS_PODS: read_dns_pods,
        Need.COREFILE: read_corefile,
        Need.COREDNS: read_coredns,
        Need.ACCESS: lambda cluster: read_access(cluster, options.namespace),
        Need.IP_POOLS: read_ip_pools,
        Need.CALICO: read_calico,
        Need.API_ADDRESSES: list_api_addresses,
        Need.MIRROR: lambda cluster: read_mirror(cluster, options.namespace),
        Need.WORKLOADS: read_all_workloads,
        Need.WARNING_EVENTS: read_warning_events,
        Need.RECONCILER: read_reconciler,
    }


def _read(reader: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return reader(*arguments)
    except ApiError as error:
        return Unseen(reason=error.why or str(error))


def _read_hosts(
    cluster: Cluster,
    options: CollectOptions,
    nodes: MaybeSeen[tuple[NodeState, ...]],
    progress: Progress,
) -> MaybeSeen[tuple[NodeHost, ...]]:
    """Ask the node agents; if they were never started, no fix has changed a host."""
    if isinstance(nodes, Unseen):
        return nodes
    if not options.start_agents and cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
        return ()
    image = options.agent_image.reference if options.agent_image else None
    return read_hosts(cluster, image if options.start_agents else None, nodes, progress)


def _read_pod_dns(
    cluster: Cluster,
    options: CollectOptions,
    nodes: MaybeSeen[tuple[NodeState, ...]],
    progress: Progress,
) -> MaybeSeen[tuple[NodeDns, ...]]:
    if options.image is None:
        return Unseen(reason="no probe image: pass --image REF, or start the mirror (mirror up)")
    if not options.names:
        return Unseen(reason="no name to look up: pass --name HOST")
    if isinstance(nodes, Unseen):
        if not options.nodes:
            return Unseen(reason=f"the nodes are unknown ({nodes.reason}): pass --node NAME")
        selected, not_ready = options.nodes, set[str]()
    else:
        known = tuple(node.name for node in nodes)
        selected = options.nodes or known
        if unknown := [name for name in selected if name not in known]:
            raise InputError(
                f"no node {unknown[0]!r} in the cluster",
                why="the nodes are: " + ", ".join(known),
                next_step="choose one of them with --node",
            )
        not_ready = {node.name for node in nodes if not node.ready}
    ready = tuple(name for name in selected if name not in not_ready)
    views = probe_dns(
        cluster, options.image, options.namespace, ready, options.names, options.mirror, progress
    )
    unseen = Unseen(reason="the node is not Ready")
    return tuple(NodeDns(node=name, view=views.get(name, unseen)) for name in selected)
