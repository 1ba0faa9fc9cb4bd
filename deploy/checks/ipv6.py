"""IPv6 in pods: an address, a route, and whether connections succeed."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import has_unreachable_ipv6, ipv6_connections, iter_probe_views
from deploy.evidence.unseen import Unseen
from deploy.findings import remedies
from deploy.findings.model import SEEN, Finding, Remedy, check, warning
from deploy.findings.phrases import group_by_line, join_names, on_nodes
from mirror.probe.model import PodDns

CATEGORY = "ipv6"
RANK = 40  # its position in the report


@check("ipv6.pods", "pods with IPv6 reach IPv6 networks", SEEN, Need.POD_DNS)
def check_pod_ipv6(evidence: Evidence) -> Iterator[Finding]:
    views = {node: view for node, view in iter_probe_views(evidence) if has_unreachable_ipv6(view)}
    if not views:
        return
    yield warning(
        f"pods have an IPv6 address, and no IPv6 leads out of the cluster {on_nodes(views)}",
        remedies.attach_workload(),
        remedies.USE_MIRROR,
        remedies.FILTER_IPV6_ANSWERS,
        remedies.POD_SYSCTL,
        *_change_pools(evidence),
        nodes=views,
        evidence=group_by_line({node: _describe_ipv6(view) for node, view in views.items()}),
        why="A program with an IPv6 address assumes that IPv6 works: it asks for AAAA records and "
        "tries their addresses first. curl and browsers try both families in parallel and work. A "
        "program that tries addresses one by one waits, or fails with `Network unreachable (os "
        "error 101)`. Sysctls of the nodes do not affect pods: each pod has its own.",
    )


@check("ipv6.same", "pods have IPv6 on all nodes or on none", SEEN, Need.POD_DNS)
def check_ipv6_on_all_nodes(evidence: Evidence) -> Iterator[Finding]:
    views = dict(iter_probe_views(evidence))
    with_ipv6 = [node for node, view in views.items() if view.ipv6_addresses]
    without = [node for node in views if node not in with_ipv6]
    if not with_ipv6 or not without:
        return
    yield warning(
        f"new pods get an IPv6 address {on_nodes(with_ipv6)} and none {on_nodes(without)}",
        remedies.POD_SYSCTL,
        *_change_pools(evidence),
        nodes=with_ipv6 if len(with_ipv6) <= len(without) else without,
        evidence=group_by_line(
            {
                node: join_names(view.ipv6_addresses, 2)
                or ("IPv6 is off (disable_ipv6 = 1)" if view.ipv6_disabled else "no IPv6 address")
                for node, view in views.items()
            }
        ),
        why="Pods of one Deployment behave differently from node to node. A fix reached only some "
        "nodes, or the CNI configuration differs.",
    )


def _describe_ipv6(view: PodDns) -> str:
    route = "a default route" if view.ipv6_default_route else "no default route"
    tried = [
        f"{connection.address}: {connection.text or connection.outcome}"
        for connection in ipv6_connections(view)[:1]
    ]
    return "; ".join([f"has {join_names(view.ipv6_addresses, 2)}", route, *tried])


def _change_pools(evidence: Evidence) -> tuple[Remedy, ...]:
    """Return the remedy for Calico's pools, if Calico assigns the addresses."""
    has_calico = not isinstance(evidence.calico, Unseen) and evidence.calico
    return (remedies.IPPOOL,) if has_calico else ()


CHECKS = (check_pod_ipv6, check_ipv6_on_all_nodes)
