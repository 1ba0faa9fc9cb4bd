"""Read the views of probe pods. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen, require_seen
from mirror.probe.model import ConnectionAttempt, PodDns


def iter_probe_views(evidence: Evidence) -> Iterator[tuple[str, PodDns]]:
    """Yield (node, view) for every node whose probe pod was seen."""
    for node in require_seen(evidence.pod_dns):
        if not isinstance(node.view, Unseen):
            yield node.node, node.view


def ipv6_connections(view: PodDns) -> tuple[ConnectionAttempt, ...]:
    """Return the connections to IPv6 addresses outside the cluster that a pod tried."""
    attempts = (attempt for name in view.names for attempt in name.connections)
    return tuple(attempt for attempt in attempts if ":" in attempt.address)


def has_unreachable_ipv6(view: PodDns) -> bool:
    """Whether a pod has an IPv6 address, and every IPv6 connection out of the cluster failed.

    False if DNS returned no IPv6 address: nothing was tried then. IPv6 addresses that are only used
    inside the cluster are not a problem.
    """
    outcomes = {attempt.outcome for attempt in ipv6_connections(view)}
    return bool(view.ipv6_addresses and outcomes) and outcomes <= {"unreachable", "timeout"}
