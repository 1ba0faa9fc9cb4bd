"""What was seen of a cluster, what is asked of it, and what is concluded. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from deploy.evidence.access import Access
from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.coredns import CoreDns, CorefileConfigMap
from deploy.evidence.dns import DnsPod, DnsService, NodeDns
from deploy.evidence.events import WarningEvents
from deploy.evidence.fixes import FixStatus, ReconcilerState
from deploy.evidence.hosts import NodeHost
from deploy.evidence.mirror import MirrorState
from deploy.evidence.nodes import NodeState
from deploy.evidence.unseen import NOT_COLLECTED, MaybeSeen, Unseen
from deploy.evidence.workloads import Workload

T = TypeVar("T")


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


# -- judgement ------------------------------------------------------------------------------------


"""before: what must hold before `mirror up` writes; after: what is looked at in a running cluster.
"""
