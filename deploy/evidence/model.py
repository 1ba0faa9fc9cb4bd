"""Everything that is collected from a cluster, and the subjects that a check can ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from deploy.evidence.access import Access
from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.coredns import CoreDns, CorefileConfigMap
from deploy.evidence.dns import DnsService, NodeDns
from deploy.evidence.events import WarningEvents
from deploy.evidence.fixes import FixStatus, ReconcilerState
from deploy.evidence.hosts import NodeHost
from deploy.evidence.mirror import MirrorState
from deploy.evidence.nodes import NodeState
from deploy.evidence.pods import PodState
from deploy.evidence.unseen import NOT_COLLECTED, MaybeSeen, Unseen
from deploy.evidence.workloads import Workload
from mirror.core.codec import json_key


class Need(StrEnum):
    """A subject of evidence; the value is the field of Evidence that holds it."""

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
    WARNING_EVENTS = "warning_events"
    COREDNS = "coredns"
    HOSTS = "hosts"
    API_ADDRESSES = "api_addresses"
    FIXES = "fixes"
    RECONCILER = "reconciler"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceGap:
    """A part of a subject that was not observed, although the rest was.

    ``expected``: nobody has to observe it, e.g. a node of another system. Checks do not miss it.
    """

    need: Need
    reason: str
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that one run collected. Saved as JSON, it can be judged again anywhere.

    ``taken`` is a UTC time (ISO 8601). A field that no check needed is NOT_COLLECTED.
    """

    context: str
    server: str
    taken: str
    nodes: MaybeSeen[tuple[NodeState, ...]] = NOT_COLLECTED
    dns_service: MaybeSeen[DnsService | None] = NOT_COLLECTED
    dns_pods: MaybeSeen[tuple[PodState, ...]] = NOT_COLLECTED
    corefile: MaybeSeen[CorefileConfigMap | None] = NOT_COLLECTED
    pod_dns: MaybeSeen[tuple[NodeDns, ...]] = NOT_COLLECTED
    access: MaybeSeen[Access] = NOT_COLLECTED
    ip_pools: MaybeSeen[tuple[IpPool, ...]] = NOT_COLLECTED
    calico: MaybeSeen[Calico | None] = NOT_COLLECTED
    mirror: MaybeSeen[MirrorState] = NOT_COLLECTED
    workloads: MaybeSeen[tuple[Workload, ...]] = NOT_COLLECTED
    warning_events: MaybeSeen[tuple[WarningEvents, ...]] = field(
        default=NOT_COLLECTED, metadata=json_key("warned")
    )
    coredns: MaybeSeen[CoreDns | None] = NOT_COLLECTED
    hosts: MaybeSeen[tuple[NodeHost, ...]] = NOT_COLLECTED
    # at which nodes and pods reach the API server
    api_addresses: MaybeSeen[tuple[str, ...]] = NOT_COLLECTED
    fixes: MaybeSeen[tuple[FixStatus, ...]] = NOT_COLLECTED
    reconciler: MaybeSeen[ReconcilerState | None] = field(
        default=NOT_COLLECTED, metadata=json_key("keeper")
    )
    left_out: tuple[EvidenceGap, ...] = ()

    def gaps(self, need: Need) -> tuple[str, ...]:
        """Return why parts of this subject were not seen; empty if all of it was seen."""
        value = getattr(self, need.value)
        if isinstance(value, Unseen):
            return (value.reason,)
        if need in {Need.POD_DNS, Need.HOSTS}:
            reasons: dict[str, list[str]] = {}
            for node in value:
                if isinstance(node.view, Unseen):
                    reasons.setdefault(node.view.reason, []).append(node.node)
            return tuple(f"{', '.join(nodes)}: {reason}" for reason, nodes in reasons.items())
        return tuple(gap.reason for gap in self.left_out if gap.need is need and not gap.expected)

    def is_unseen(self, need: Need) -> bool:
        """Whether nothing at all of this subject was seen."""
        value = getattr(self, need.value)
        if isinstance(value, Unseen):
            return True
        return need is Need.POD_DNS and all(isinstance(node.view, Unseen) for node in value)
