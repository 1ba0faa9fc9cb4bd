"""Evidence gathered in one go: each subject once, side by side, under one deadline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.access import read_access
from deploy.evidence.calico import read_calico, read_ip_pools
from deploy.evidence.coredns import read_coredns, read_corefile
from deploy.evidence.dns import DnsProbeRequest, NodeDns, probe_dns, read_dns_pods, read_dns_service
from deploy.evidence.events import read_warning_events
from deploy.evidence.fixes import read_reconciler
from deploy.evidence.hosts import NodeHost, read_hosts
from deploy.evidence.mirror import read_mirror
from deploy.evidence.model import Evidence, EvidenceGap, Need
from deploy.evidence.nodes import NodeState, read_nodes
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.evidence.workloads import read_workloads
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.errors import InputError
from mirror.core.progress import SILENT, Progress

_SYSTEM = "kube-system"
_SERVICES = ("kube-dns", "coredns", "rke2-coredns-rke2-coredns")  # by distribution
_PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure", "NetworkUnavailable")
_COREFILES = ("coredns", "rke2-coredns-rke2-coredns")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOptions:
    """What a collection is told. Empty ``nodes`` means all that are Ready.

    ``image`` is the probe pods' image; None or no ``names`` leaves what needs pods unseen.
    ``namespace`` is the mirror's, for the probe pods where it exists.
    """

    namespace: str
    image: str | None = None
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # HOST or HOST:PORT
    mirror: str | None = None  # ADDRESS:PORT that workloads were given; pods ask it too
    start_agents: bool = False  # start the node agent where it does not run


def collect(
    cluster: Cluster, needs: frozenset[Need], look: CollectOptions, progress: Progress = SILENT
) -> Evidence:
    """Look at everything that is needed; what cannot be seen is Unseen with the reason.

    Raises ClusterError only when the API server does not answer at all, InputError for a node
    that does not exist.
    """
    progress.step(f"look at context {cluster.context} ({cluster.server})")
    cluster.version()
    left_out: list[EvidenceGap] = []
    readers = _readers(look, left_out)
    wanted = [need for need in readers if need in needs or need is Need.NODES]
    with ThreadPoolExecutor(len(wanted) + 2) as pool:
        begun = {need: pool.submit(_seen, readers[need], cluster) for need in wanted}
        found: dict[str, Any] = {}
        if Need.POD_DNS in needs:
            # pods take the longest: they are under way while the rest is read
            nodes = begun[Need.NODES].result()
            found[Need.POD_DNS.value] = _pod_dns(cluster, look, nodes, progress)
        if Need.HOSTS in needs:
            nodes = begun[Need.NODES].result()
            found[Need.HOSTS.value] = _seen(lambda one: _hosts(one, look, nodes, progress), cluster)
        found |= {need.value: one.result() for need, one in begun.items()}
    return Evidence(
        context=cluster.context,
        server=cluster.server,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        left_out=tuple(left_out),
        **found,
    )


def _seen(read: Callable[[Cluster], Any], cluster: Cluster) -> Any:
    try:
        return read(cluster)
    except ApiError as refusal:
        return Unseen(reason=refusal.why or str(refusal))


# -- from the API ---------------------------------------------------------------------------------


def _api_addresses(cluster: Cluster) -> tuple[str, ...]:
    """The servers behind the Service `kubernetes`."""
    chosen = "kubernetes.io/service-name=kubernetes"
    slices = cluster.list("EndpointSlice", "default", labels=chosen)
    found = (at for one in slices for end in one.get("endpoints") or () for at in end["addresses"])
    return tuple(sorted(set(found)))


Reader: TypeAlias = Callable[[Cluster], Any]


def _readers(look: CollectOptions, left_out: list[EvidenceGap]) -> dict[Need, Reader]:
    """How each subject that the API shows is read. Parts that cannot be go to ``left_out``."""

    def workloads(cluster: Cluster) -> Any:
        found, gaps = read_workloads(cluster, look.namespace)
        left_out.extend(EvidenceGap(need=Need.WORKLOADS, reason=reason) for reason in gaps)
        return found

    return {
        Need.NODES: read_nodes,
        Need.DNS_SERVICE: read_dns_service,
        Need.DNS_PODS: read_dns_pods,
        Need.COREFILE: read_corefile,
        Need.COREDNS: read_coredns,
        Need.ACCESS: lambda cluster: read_access(cluster, look.namespace),
        Need.IP_POOLS: read_ip_pools,
        Need.CALICO: read_calico,
        Need.API_ADDRESSES: _api_addresses,
        Need.MIRROR: lambda cluster: read_mirror(cluster, look.namespace),
        Need.WORKLOADS: workloads,
        Need.WARNING_EVENTS: read_warning_events,
        Need.RECONCILER: read_reconciler,
    }


def _hosts(
    cluster: Cluster,
    look: CollectOptions,
    nodes: MaybeSeen[tuple[NodeState, ...]],
    progress: Progress,
) -> MaybeSeen[tuple[NodeHost, ...]]:
    """By the node agent. Where it was never started nothing of ours is on the hosts: none."""
    if isinstance(nodes, Unseen):
        return nodes
    if not look.start_agents and cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
        return ()
    return read_hosts(cluster, look.image if look.start_agents else None, nodes, progress)


# -- from pods ------------------------------------------------------------------------------------


def _pod_dns(
    cluster: Cluster,
    look: CollectOptions,
    nodes: MaybeSeen[tuple[NodeState, ...]],
    progress: Progress,
) -> MaybeSeen[tuple[NodeDns, ...]]:
    if look.image is None:
        return Unseen(
            reason="no probe image: give --image REF, or bring the mirror up once (mirror up)"
        )
    if not look.names:
        return Unseen(reason="no name to ask for: give --name HOST")
    if isinstance(nodes, Unseen):
        if not look.nodes:
            return Unseen(reason=f"the nodes are not known ({nodes.reason}): give --node NAME")
        asked, down = look.nodes, set[str]()
    else:
        known = tuple(node.name for node in nodes)
        asked = look.nodes or known
        if unknown := [name for name in asked if name not in known]:
            raise InputError(
                f"no node {unknown[0]!r} in the cluster",
                why="it has: " + ", ".join(known),
                next_step="choose one of them with --node",
            )
        down = {node.name for node in nodes if not node.ready}
    ready = tuple(name for name in asked if name not in down)
    question = DnsProbeRequest(
        image=look.image, namespace=look.namespace, names=look.names, mirror=look.mirror
    )
    seen = probe_dns(cluster, question, ready, progress)
    not_ready = Unseen(reason="the node is not Ready")
    return tuple(NodeDns(node=name, view=seen.get(name, not_ready)) for name in asked)
