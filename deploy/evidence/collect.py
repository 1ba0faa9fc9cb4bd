"""Evidence gathered in one go: each subject once, side by side, under one deadline."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.objects import (
    format_selector,
    get_condition,
    get_internal_ips,
    get_waiting_reasons,
    has_condition,
    is_ready,
)
from deploy.evidence.access import read_access
from deploy.evidence.calico import read_calico, read_ip_pools
from deploy.evidence.coredns import read_coredns
from deploy.evidence.dns import DnsProbeRequest, probe_dns
from deploy.evidence.mirror import read_mirror
from deploy.evidence.model import (
    CorefileConfigMap,
    DnsPod,
    DnsService,
    Evidence,
    EvidenceGap,
    MaybeSeen,
    Need,
    NodeDns,
    NodeHost,
    NodeState,
    Unseen,
)
from deploy.evidence.node_agent import read_hosts
from deploy.evidence.reconciler import read_reconciler
from deploy.evidence.workloads import read_warning_events, read_workloads
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


def read_nodes(cluster: Cluster) -> tuple[NodeState, ...]:
    def one(node: Object) -> NodeState:
        meta, status, spec = node["metadata"], node.get("status", {}), node.get("spec", {})
        about = status.get("nodeInfo", {})
        return NodeState(
            name=meta["name"],
            ready=is_ready(node),
            architecture=about.get("architecture", ""),
            addresses=get_internal_ips(node),
            pod_cidrs=tuple(spec.get("podCIDRs", [])),
            trouble=_not_ready(node),
            pressures=tuple(kind for kind in _PRESSURES if has_condition(node, kind)),
            cordoned=bool(spec.get("unschedulable")),
            kubelet=about.get("kubeletVersion", ""),
            os_image=about.get("osImage", ""),
            distribution=_distribution(meta.get("labels", {}), about.get("kubeletVersion", "")),
        )

    return tuple(sorted(map(one, cluster.list("Node")), key=lambda node: node.name))


def _not_ready(node: Object) -> str:
    ready = get_condition(node, "Ready")
    if ready is None or ready["status"] == "True":
        return ""
    return f"{ready.get('reason', '')}: {ready.get('message', '')}"


def _distribution(labels: Object, kubelet: str) -> str:
    """Who made this Kubernetes, by what it writes on its nodes."""
    if any("microk8s" in key for key in labels):
        return "microk8s"
    return next((name for name in ("k3s", "rke2") if f"+{name}" in kubelet), "")


def _api_addresses(cluster: Cluster) -> tuple[str, ...]:
    """The servers behind the Service `kubernetes`."""
    chosen = "kubernetes.io/service-name=kubernetes"
    slices = cluster.list("EndpointSlice", "default", labels=chosen)
    found = (at for one in slices for end in one.get("endpoints") or () for at in end["addresses"])
    return tuple(sorted(set(found)))


def _dns_service(cluster: Cluster) -> DnsService | None:
    for name in _SERVICES:
        found = cluster.get("Service", name, _SYSTEM)
        if found:
            spec = found["spec"]
            return DnsService(
                name=f"{_SYSTEM}/{name}",
                addresses=tuple(spec.get("clusterIPs") or [spec["clusterIP"]]),
                selector=format_selector(spec.get("selector") or {}),
            )
    return None


def _dns_pods(cluster: Cluster) -> tuple[DnsPod, ...]:
    service = _dns_service(cluster)
    if service is None or not service.selector:
        return ()
    pods = cluster.list("Pod", _SYSTEM, labels=service.selector)
    return tuple(
        DnsPod(
            name=pod["metadata"]["name"],
            node=pod["spec"].get("nodeName", ""),
            ready=is_ready(pod),
            trouble=", ".join(get_waiting_reasons(pod).values()) or pod["status"].get("reason", ""),
        )
        for pod in pods
    )


def _corefile(cluster: Cluster) -> CorefileConfigMap | None:
    for name in _COREFILES:
        found = cluster.get("ConfigMap", name, _SYSTEM)
        if found and "Corefile" in found.get("data", {}):
            return CorefileConfigMap(namespace=_SYSTEM, name=name, text=found["data"]["Corefile"])
    return None


Reader: TypeAlias = Callable[[Cluster], Any]


def _readers(look: CollectOptions, left_out: list[EvidenceGap]) -> dict[Need, Reader]:
    """How each subject that the API shows is read. Parts that cannot be go to ``left_out``."""

    def workloads(cluster: Cluster) -> Any:
        found, gaps = read_workloads(cluster, look.namespace)
        left_out.extend(EvidenceGap(need=Need.WORKLOADS, reason=reason) for reason in gaps)
        return found

    return {
        Need.NODES: read_nodes,
        Need.DNS_SERVICE: _dns_service,
        Need.DNS_PODS: _dns_pods,
        Need.COREFILE: _corefile,
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
