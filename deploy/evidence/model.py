"""What was seen of a cluster, what is asked of it, and what is concluded. Data only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar

from deploy.evidence.coredns import CoreDns
from deploy.evidence.host_view import HostView
from deploy.evidence.things import (
    Access,
    Calico,
    FixStatus,
    IpPool,
    MirrorState,
    ReconcilerState,
    WarningEvents,
    Workload,
)
from mirror.probe.model import PodDns

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What could not be looked at, and why: a missing right, no probe image. Never "ok"."""

    reason: str


MaybeSeen: TypeAlias = T | Unseen

NOT_COLLECTED = Unseen(reason="no check asked for it")


class Need(StrEnum):
    """A subject of evidence; its value is the field of Evidence that holds it."""

    NODES = "nodes"
    DNS_SERVICE = "dns_service"
    DNS_PODS = "dns_pods"
    COREFILE = "corefile"
    POD_DNS = "pod_dns"
    ACCESS = "access"
    IP_POOLS = "ip_pools"
    CALICO = "calico"
    MIRROR = "mirror"
    WORKLOADS = "workloads"
    WARNING_EVENTS = "warned"
    COREDNS = "coredns"
    HOSTS = "hosts"
    API_ADDRESSES = "api_addresses"
    FIXES = "fixes"
    RECONCILER = "keeper"


# -- evidence -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node by the API server's word. Addresses are InternalIPs of both families."""

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
    distribution: str = ""  # microk8s, k3s, rke2; empty: not known


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
class CorefileConfigMap:
    """CoreDNS' configuration: the ConfigMap's key as it stands there."""

    namespace: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDns:
    """What a pod on one node sees of DNS, IPv6 and the mirror."""

    node: str
    view: MaybeSeen[PodDns]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHost:
    """What the node agent sees of one host."""

    node: str
    view: MaybeSeen[HostView]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGap:
    """A part of a subject that could not be seen, beside what could."""

    need: Need
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was collected in one go. Saved as JSON it can be judged again elsewhere.

    ``taken`` is a UTC time (ISO 8601). A field that no check needed is NOT_ASKED.
    """

    context: str
    server: str
    taken: str
    nodes: MaybeSeen[tuple[NodeState, ...]] = NOT_COLLECTED
    dns_service: MaybeSeen[DnsService | None] = NOT_COLLECTED
    dns_pods: MaybeSeen[tuple[DnsPod, ...]] = NOT_COLLECTED
    corefile: MaybeSeen[CorefileConfigMap | None] = NOT_COLLECTED
    pod_dns: MaybeSeen[tuple[NodeDns, ...]] = NOT_COLLECTED
    access: MaybeSeen[Access] = NOT_COLLECTED
    ip_pools: MaybeSeen[tuple[IpPool, ...]] = NOT_COLLECTED
    calico: MaybeSeen[Calico | None] = NOT_COLLECTED
    mirror: MaybeSeen[MirrorState] = NOT_COLLECTED
    workloads: MaybeSeen[tuple[Workload, ...]] = NOT_COLLECTED
    warned: MaybeSeen[tuple[WarningEvents, ...]] = NOT_COLLECTED
    coredns: MaybeSeen[CoreDns | None] = NOT_COLLECTED
    hosts: MaybeSeen[tuple[NodeHost, ...]] = NOT_COLLECTED
    api_addresses: MaybeSeen[tuple[str, ...]] = (
        NOT_COLLECTED  # at which nodes and pods reach the API server
    )
    fixes: MaybeSeen[tuple[FixStatus, ...]] = NOT_COLLECTED
    keeper: MaybeSeen[ReconcilerState | None] = NOT_COLLECTED
    left_out: tuple[EvidenceGap, ...] = ()

    def gaps(self, need: Need) -> tuple[str, ...]:
        """Why (parts of) this subject could not be seen; empty when all of it was."""
        value = getattr(self, need.value)
        if isinstance(value, Unseen):
            return (value.reason,)
        if need in {Need.POD_DNS, Need.HOSTS}:
            reasons: dict[str, list[str]] = {}
            for one in value:
                if isinstance(one.view, Unseen):
                    reasons.setdefault(one.view.reason, []).append(one.node)
            return tuple(f"{', '.join(nodes)}: {reason}" for reason, nodes in reasons.items())
        return tuple(one.reason for one in self.left_out if one.need is need)

    def is_unseen(self, need: Need) -> bool:
        """Whether there is nothing at all to look at for this need."""
        value = getattr(self, need.value)
        if isinstance(value, Unseen):
            return True
        return need is Need.POD_DNS and all(isinstance(one.view, Unseen) for one in value)


def require_seen(value: MaybeSeen[T]) -> T:
    """The thing itself, for a check: the runner calls no check whose needs are unseen."""
    if isinstance(value, Unseen):
        raise LookupError(f"looked at without having been seen: {value.reason}")
    return value


# -- judgement ------------------------------------------------------------------------------------


class Severity(StrEnum):
    """error: pods fail because of it. warning: some will. note: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


Scope: TypeAlias = Literal["workload", "namespace", "cluster", "nodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One way to end a cause. ``reach`` is what it touches, ``price`` what it costs."""

    text: str
    reach: Scope
    command: str = ""
    price: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Evidence that reads best in columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause, in words; what shows it; and the mends, the least invasive first.

    ``why`` explains in plain words why one program fails where another works.
    """

    check: str
    severity: Severity
    cause: str
    nodes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    why: str = ""
    table: Table | None = None
    mends: tuple[Remedy, ...] = ()


CheckStage: TypeAlias = Literal["before", "after"]
"""before: what must hold before `mirror up` writes; after: what is looked at in a running cluster.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One question. ``fact`` reads as a fact once it holds.

    ``look`` is pure and is called only when something of each of ``needs`` was seen. After a
    ``fatal`` check that finds something the rest of its category is skipped.
    """

    id: str
    fact: str
    needs: frozenset[Need]
    find: Callable[[Evidence], Iterable[Finding]]
    stage: CheckStage = "after"
    fatal: bool = False


CheckOutcome: TypeAlias = Literal["ok", "found", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How one check ended. ``gaps`` are the reasons why it, or a part of it, was not seen.

    A check that found nothing but could not see everything is skipped, never ok.
    """

    category: str
    check: str
    fact: str
    outcome: CheckOutcome
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All results in the order of the checks, and what was found."""

    context: str
    results: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]

    @property
    def skipped(self) -> tuple[CheckResult, ...]:
        return tuple(one for one in self.results if one.outcome == "skipped")

    def worst_severity(self) -> Severity | None:
        """The severity that decides the exit code."""
        order = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
        return next((one for one in order if one in {f.severity for f in self.findings}), None)
