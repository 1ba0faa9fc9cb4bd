"""Probe pods: one on each node, side by side, that see DNS as a workload there does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from deploy.cluster.client import ApiError, Cluster, temporary_objects
from deploy.cluster.objects import format_selector, get_waiting_reasons, is_ready
from deploy.cluster.pod_run import PodRun, run_pods
from deploy.evidence.unseen import MaybeSeen, Unseen
from deploy.manifests.mirror_objects import render_namespace as namespace_object
from deploy.manifests.model import NAME, ClusterSettings, Object
from deploy.manifests.pods import render_probe_pod
from mirror.core.codec import load
from mirror.core.errors import WaitTimeout
from mirror.core.progress import Progress
from mirror.core.wait import wait_until
from mirror.probe.model import PodDns

_SYSTEM = "kube-system"
_SERVICES = ("kube-dns", "coredns", "rke2-coredns-rke2-coredns")  # by distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsService:
    """The Service that pods' resolv.conf names, and how it chooses its pods."""

    name: str
    addresses: tuple[str, ...]  # ClusterIPs of both families
    selector: str  # label selector, e.g. k8s-app=kube-dns


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsPod:
    """A pod that answers for the DNS Service. ``trouble`` says why it is not ready."""

    name: str
    node: str
    ready: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDns:
    """What a pod on one node sees of DNS, IPv6 and the mirror."""

    node: str
    view: MaybeSeen[PodDns]


def read_dns_service(cluster: Cluster) -> DnsService | None:
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


def read_dns_pods(cluster: Cluster) -> tuple[DnsPod, ...]:
    service = read_dns_service(cluster)
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


_SECONDS = 60.0  # the most that probe pods get: an image may have to be pulled first
_ACCOUNT_SECONDS = 10.0
_USAGE = 2  # a program that does not know its arguments
_OTHER_VERSION = (
    "the image of the probe pods is of another version of this program: bring the mirror to this "
    "one (mirror up), or give --image REF"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsProbeRequest:
    """What probe pods are asked. ``home`` is the mirror's namespace, used where it exists."""

    image: str
    namespace: str
    names: tuple[str, ...]  # HOST or HOST:PORT
    mirror: str | None = None  # ADDRESS:PORT


def probe_dns(
    cluster: Cluster, question: DnsProbeRequest, nodes: tuple[str, ...], progress: Progress
) -> Mapping[str, MaybeSeen[PodDns]]:
    """Node → what a pod there sees. Nothing is left behind, however it ends."""
    if not nodes:
        return {}
    progress.step(f"ask for {', '.join(question.names)} from a pod on each node")
    try:
        with probe_namespace(cluster, question.namespace) as where:
            pods = [_pod(question, where, node) for node in nodes]
            deadline = cluster.deadline.within(_SECONDS)
            runs = run_pods(cluster, pods, deadline, lambda done: progress.count(done, len(pods)))
    except (ApiError, WaitTimeout) as refused:
        reason = Unseen(reason=f"no probe pods: {refused.why or refused.what}")
        return dict.fromkeys(nodes, reason)
    return {node: _read(run) for node, run in zip(nodes, runs, strict=True)}


def _pod(question: DnsProbeRequest, namespace: str, node: str) -> Object:
    """As the mirror's own probes, but with the resolv.conf that any workload gets."""
    settings = replace(ClusterSettings(image=question.image), namespace=namespace)
    command = ["python3", "-m", "mirror.probe", "dns"]
    for name in question.names:
        command += ["--name", name]
    if question.mirror:
        command += ["--mirror", question.mirror]
    mark = secrets.token_hex(3)
    pod = render_probe_pod(settings, name=f"{NAME}-doctor-{mark}", node=node, command=command)
    del pod["spec"]["dnsConfig"]
    return pod


@contextmanager
def probe_namespace(cluster: Cluster, home: str) -> Iterator[str]:
    """The mirror's own namespace, else one that lives only as long as the look."""
    found = cluster.get("Namespace", home)
    if found and not found["metadata"].get("deletionTimestamp"):
        yield home
        return
    name = f"{NAME}-doctor-{secrets.token_hex(3)}"
    with temporary_objects(cluster, namespace_object(name)):
        # pods are refused until the controller has made the account they run as
        wait_until(
            lambda: cluster.get("ServiceAccount", "default", name),
            deadline=cluster.deadline.within(_ACCOUNT_SECONDS),
            what=f"the default ServiceAccount of namespace {name}",
            interval=0.1,
        )
        yield name


def _read(run: PodRun) -> MaybeSeen[PodDns]:
    if run.exit_code == _USAGE and "usage: " in run.output:
        return Unseen(reason=_OTHER_VERSION)
    if not run.succeeded:
        return Unseen(
            reason=run.why or f"the probe ended with {run.exit_code}: {run.output.strip()[-300:]}"
        )
    try:
        return load(PodDns, json.loads(run.output))
    except ValueError as broken:
        return Unseen(reason=f"the probe's answer cannot be read ({broken}): {_OTHER_VERSION}")
