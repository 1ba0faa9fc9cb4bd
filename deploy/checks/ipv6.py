"""IPv6 in pods: an address, a route, and what a connection makes of them."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import has_unreachable_ipv6, ipv6_connections, iter_probe_views
from deploy.evidence.unseen import Unseen
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.findings.phrases import group_by_line, join_names, on_nodes

CATEGORY = "ipv6"
RANK = 40  # where it stands in the report


def check_pod_ipv6(evidence: Evidence) -> Iterator[Finding]:
    """Pods have IPv6 addresses that lead nowhere."""
    lost = {node: view for node, view in iter_probe_views(evidence) if has_unreachable_ipv6(view)}
    if not lost:
        return
    shown = {}
    for node, view in lost.items():
        tried = [f"{one.address}: {one.text or one.outcome}" for one in ipv6_connections(view)[:1]]
        route = "a default route" if view.ipv6_default_route else "no default route"
        shown[node] = "; ".join([f"has {join_names(view.ipv6_addresses, 2)}", route, *tried])
    yield Finding(
        check="ipv6.pods",
        severity=Severity.WARNING,
        cause=f"pods have an IPv6 address, and no IPv6 leads out of the cluster {on_nodes(lost)}",
        nodes=tuple(lost),
        evidence=group_by_line(shown),
        why="A program with an IPv6 address of its own believes that it has IPv6: it asks for AAAA "
        "and tries those first. curl and browsers try both families side by side, so they work; "
        "a program that takes addresses one by one waits, or ends with `Network unreachable (os "
        "error 101)`. Sysctls of the nodes do not reach pods: each pod has its own.",
        remedies=(
            remedies.attach_workload(),
            remedies.USE_MIRROR,
            remedies.filter_ipv6_answers(),
            remedies.POD_SYSCTL,
            *_pools(evidence),
        ),
    )


def _pools(evidence: Evidence) -> tuple[Remedy, ...]:
    """Where Calico gives the addresses it can stop."""
    calico = not isinstance(evidence.calico, Unseen) and evidence.calico
    return (remedies.IPPOOL,) if calico else ()


def check_ipv6_on_all_nodes(evidence: Evidence) -> Iterator[Finding]:
    """Pods on some nodes have IPv6, on others not."""
    views = dict(iter_probe_views(evidence))
    have = [node for node, view in views.items() if view.ipv6_addresses]
    without = [node for node in views if node not in have]
    if not have or not without:
        return
    fewer = min((have, without), key=len)
    yield Finding(
        check="ipv6.same",
        severity=Severity.WARNING,
        cause=f"new pods get an IPv6 address {on_nodes(have)} and none {on_nodes(without)}",
        nodes=tuple(fewer),
        evidence=group_by_line(
            {
                node: join_names(view.ipv6_addresses, 2)
                or ("IPv6 is off (disable_ipv6 = 1)" if view.ipv6_disabled else "no IPv6 address")
                for node, view in views.items()
            }
        ),
        why="One Deployment then behaves differently from node to node. A fix has reached only "
        "some of the nodes, or the CNI's configuration differs.",
        remedies=(remedies.POD_SYSCTL, *_pools(evidence)),
    )


_PODS = frozenset({Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="ipv6.pods",
        fact="where pods have IPv6 it leads out",
        needs=_PODS,
        find=check_pod_ipv6,
    ),
    DoctorCheck(
        id="ipv6.same",
        fact="pods have IPv6 on all nodes or on none",
        needs=_PODS,
        find=check_ipv6_on_all_nodes,
    ),
)
