"""Questions to the views of probe pods that several categories ask. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen, require_seen
from mirror.probe.model import ConnectionAttempt, PodDns


def iter_probe_views(evidence: Evidence) -> Iterator[tuple[str, PodDns]]:
    """The nodes whose pods could be seen."""
    for one in require_seen(evidence.pod_dns):
        if not isinstance(one.view, Unseen):
            yield one.node, one.view


def ipv6_connections(view: PodDns) -> tuple[ConnectionAttempt, ...]:
    """Connections that were tried to IPv6 addresses outside, in a pod."""
    return tuple(one for name in view.names for one in name.connections if ":" in one.address)


def has_unreachable_ipv6(view: PodDns) -> bool:
    """A pod has an IPv6 address, and every IPv6 connection that was tried outside fails.

    Where DNS gave no IPv6 address nothing was tried and nothing is hurt: addresses that serve the
    cluster alone are no fault.
    """
    tried = ipv6_connections(view)
    return bool(
        view.ipv6_addresses
        and tried
        and all(one.outcome in {"unreachable", "timeout"} for one in tried)
    )
