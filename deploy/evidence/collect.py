"""Evidence gathered in one go: each subject once, side by side, under one deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.explain import waiting_reasons
from deploy.evidence.model import (
    Corefile,
    DnsPod,
    DnsService,
    Evidence,
    Need,
    Node,
    NodeDns,
    Seen,
    Unseen,
)
from deploy.evidence.probes import probe_dns
from mirror.core.errors import InputError
from mirror.core.progress import SILENT, Progress

_SYSTEM = "kube-system"
_SERVICES = ("kube-dns", "coredns", "rke2-coredns-rke2-coredns")  # by distribution
_COREFILES = ("coredns", "rke2-coredns-rke2-coredns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a collection is told. Empty ``nodes`` means all that are Ready.

    ``image`` is the probe pods' image; None or no ``names`` leaves what needs pods unseen.
    ``namespace`` is the mirror's, for the probe pods where it exists.
    """

    namespace: str
    image: str | None = None
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # HOST or HOST:PORT


def collect(
    cluster: Cluster, needs: frozenset[Need], look: Look, progress: Progress = SILENT
) -> Evidence:
    """Look at everything that is needed; what cannot be seen is Unseen with the reason.

    Raises ClusterError only when the API server does not answer at all, InputError for a node
    that does not exist.
    """
    progress.step(f"look at context {cluster.context} ({cluster.server})")
    cluster.version()
    wanted = {need: read for need, read in _API.items() if need in needs or need is Need.NODES}
    with ThreadPoolExecutor(len(wanted)) as pool:
        begun = {need: pool.submit(_seen, read, cluster) for need, read in wanted.items()}
        found: dict[str, Any] = {need.value: one.result() for need, one in begun.items()}
    if Need.POD_DNS in needs:
        found[Need.POD_DNS.value] = _pod_dns(cluster, look, found[Need.NODES.value], progress)
    return Evidence(
        context=cluster.context,
        server=cluster.server,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        **found,
    )


def _seen(read: Callable[[Cluster], Any], cluster: Cluster) -> Any:
    try:
        return read(cluster)
    except ApiRefusal as refusal:
        return Unseen(reason=refusal.why or str(refusal))


# -- from the API ---------------------------------------------------------------------------------


def _nodes(cluster: Cluster) -> tuple[Node, ...]:
    def one(node: Object) -> Node:
        status, spec = node.get("status", {}), node.get("spec", {})
        return Node(
            name=node["metadata"]["name"],
            ready=_condition(node, "Ready"),
            architecture=status.get("nodeInfo", {}).get("architecture", ""),
            addresses=tuple(
                at["address"] for at in status.get("addresses", []) if at["type"] == "InternalIP"
            ),
            pod_cidrs=tuple(spec.get("podCIDRs", [])),
        )

    return tuple(sorted(map(one, cluster.list("Node")), key=lambda node: node.name))


def _dns_service(cluster: Cluster) -> DnsService | None:
    for name in _SERVICES:
        found = cluster.get("Service", name, _SYSTEM)
        if found:
            spec = found["spec"]
            return DnsService(
                name=f"{_SYSTEM}/{name}",
                addresses=tuple(spec.get("clusterIPs") or [spec["clusterIP"]]),
                selector=",".join(f"{k}={v}" for k, v in (spec.get("selector") or {}).items()),
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
            ready=_condition(pod, "Ready"),
            trouble=", ".join(waiting_reasons(pod).values()) or pod["status"].get("reason", ""),
        )
        for pod in pods
    )


def _corefile(cluster: Cluster) -> Corefile | None:
    for name in _COREFILES:
        found = cluster.get("ConfigMap", name, _SYSTEM)
        if found and "Corefile" in found.get("data", {}):
            return Corefile(namespace=_SYSTEM, name=name, text=found["data"]["Corefile"])
    return None


def _condition(obj: Object, kind: str) -> bool:
    conditions = obj.get("status", {}).get("conditions", [])
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


_API: Mapping[Need, Callable[[Cluster], Any]] = {
    Need.NODES: _nodes,
    Need.DNS_SERVICE: _dns_service,
    Need.DNS_PODS: _dns_pods,
    Need.COREFILE: _corefile,
}


# -- from pods ------------------------------------------------------------------------------------


def _pod_dns(
    cluster: Cluster, look: Look, nodes: Seen[tuple[Node, ...]], progress: Progress
) -> Seen[tuple[NodeDns, ...]]:
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
    seen = probe_dns(cluster, look.image, look.namespace, ready, look.names, progress)
    not_ready = Unseen(reason="the node is not Ready")
    return tuple(NodeDns(node=name, view=seen.get(name, not_ready)) for name in asked)
