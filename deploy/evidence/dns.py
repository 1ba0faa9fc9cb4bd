"""DNS: the Service and its pods, what pods on each node see, and when a change has arrived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import format_selector, get_name
from deploy.evidence.pods import PodState, read_pod_state
from deploy.evidence.probe_pods import run_probe
from deploy.evidence.unseen import MaybeSeen
from mirror.core.progress import Progress
from mirror.probe.expectations import ExpectationReport
from mirror.probe.model import ExpectedAnswer, PodDns

_SYSTEM = "kube-system"
_SERVICES = ("kube-dns", "coredns", "rke2-coredns-rke2-coredns")  # by distribution
_PROBE_SECONDS = 60.0
_START_SECONDS = 30.0  # for a pod to start, in addition to the time it waits for answers


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsService:
    """The Service whose address is in the resolv.conf of pods."""

    name: str
    addresses: tuple[str, ...]  # ClusterIPs of both families
    selector: str  # label selector, e.g. k8s-app=kube-dns


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDns:
    """What a pod on one node sees of DNS, IPv6 and the mirror."""

    node: str
    view: MaybeSeen[PodDns]


def read_dns_service(cluster: Cluster) -> DnsService | None:
    """Return the DNS Service: one of a known name, else the only one for UDP port 53."""
    service = _find_service(cluster)
    if service is None:
        return None
    spec = service["spec"]
    return DnsService(
        name=f"{_SYSTEM}/{get_name(service)}",
        addresses=tuple(spec.get("clusterIPs") or [spec["clusterIP"]]),
        selector=format_selector(spec.get("selector") or {}),
    )


def read_dns_labels(cluster: Cluster) -> Mapping[str, str]:
    """Return the labels by which the DNS Service selects its pods; empty if there is none."""
    labels: Mapping[str, str] = (_find_service(cluster) or {"spec": {}})["spec"].get("selector")
    return labels or {}


def _find_service(cluster: Cluster) -> Object | None:
    for name in _SERVICES:
        if service := cluster.get("Service", name, _SYSTEM):
            return service
    found = [
        service
        for service in cluster.list("Service", _SYSTEM)
        if any(p["port"] == 53 and p.get("protocol") == "UDP" for p in service["spec"]["ports"])
        and service["spec"].get("clusterIP") not in {None, "", "None"}
    ]
    return found[0] if len(found) == 1 else None


def read_dns_pods(cluster: Cluster) -> tuple[PodState, ...]:
    """Return the pods that the DNS Service selects."""
    service = read_dns_service(cluster)
    if service is None or not service.selector:
        return ()
    pods = cluster.list("Pod", _SYSTEM, labels=service.selector)
    return tuple(read_pod_state(pod) for pod in pods)


def probe_dns(
    cluster: Cluster,
    image: str,
    namespace: str,
    nodes: Sequence[str],
    names: Sequence[str],
    mirror: str | None,
    progress: Progress,
) -> Mapping[str, MaybeSeen[PodDns]]:
    """Return node → what a pod there sees of ``names`` (HOST or HOST:PORT) and of the mirror.

    ``mirror`` is its ADDRESS:PORT. The pods run in ``namespace`` if it exists.
    """
    if not nodes:
        return {}
    progress.step(f"look up {', '.join(names)} in a pod on each node")
    command = ["dns"]
    for name in names:
        command += ["--name", name]
    if mirror:
        command += ["--mirror", mirror]
    return run_probe(
        cluster,
        image=image,
        namespace=namespace,
        nodes=nodes,
        command=command,
        result=PodDns,
        seconds=_PROBE_SECONDS,
        progress=progress,
    )


def await_answers(
    cluster: Cluster,
    image: str,
    namespace: str,
    nodes: Sequence[str],
    expected: Sequence[ExpectedAnswer],
    servers: Sequence[str],
    seconds: float,
    progress: Progress,
) -> Mapping[str, MaybeSeen[ExpectationReport]]:
    """Return node → the answers that a pod there still does not get after at most ``seconds``.

    The pod asks its own nameserver and ``servers``: each DNS pod by address, because they reload
    their configuration at different times.
    """
    if not nodes or not expected:
        return {}
    progress.step("wait until pods on each node get the expected answers")
    command = ["expect", "--seconds", str(seconds)]
    for server in servers:
        command += ["--server", server]
    command += [f"{answer.name}/{answer.qtype}/{answer.answer}" for answer in expected]
    return run_probe(
        cluster,
        image=image,
        namespace=namespace,
        nodes=nodes,
        command=command,
        result=ExpectationReport,
        seconds=seconds + _START_SECONDS,
        progress=progress,
    )
