"""calico-node's own settings for IPv6, against the pools and the nodes."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import join_names, on_nodes


def check_felix(evidence: Evidence) -> Iterator[Finding]:
    """IPv6 is off in Felix and on in the address pools: addresses that nothing routes."""
    calico = require_seen(evidence.calico)
    if calico is None:
        return
    variable = calico.get_env("FELIX_IPV6SUPPORT")
    off = variable is not None and variable.lower() in {"false", "0", "no"}
    pools = [
        pool.name
        for pool in require_seen(evidence.ip_pools)
        if pool.family == 6 and not pool.disabled
    ]
    gives = calico.conflist is not None and calico.conflist.assign_ipv6
    if not pools or not gives or not (off or (variable is None and calico.felix_ipv6 is False)):
        return
    yield Finding(
        check="cni.felix",
        severity=Severity.WARNING,
        cause="calico-node does nothing for IPv6 (FELIX_IPV6SUPPORT=false), and pods are given "
        "IPv6 addresses all the same",
        evidence=(
            f"FELIX_IPV6SUPPORT={variable}"
            if off
            else "FelixConfiguration default: ipv6Support false",
            f"IPv6 pool {join_names(pools)} is enabled, assign_ipv6 is true",
        ),
        why="FELIX_IPV6SUPPORT only says whether Felix programs IPv6 routes and rules on the "
        "nodes. Addresses come from calico-ipam: a pod's IPv6 address then leads nowhere, not even "
        "to its neighbour, and programs that try it first wait or fail.",
        remedies=(
            remedies.IPPOOL,
            Remedy(
                text="Or let Felix serve IPv6 again.",
                scope="nodes",
                command=f"kubectl -n {calico.namespace} set env daemonset/calico-node "
                "FELIX_IPV6SUPPORT=true",
                side_effect="calico-node restarts, node by node",
            ),
        ),
    )


def check_autodetect(evidence: Evidence) -> Iterator[Finding]:
    """calico-node looks for an IPv6 address on nodes that have none."""
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed:
        return
    ip6 = (calico.get_env("IP6") or "none").lower()
    if ip6 != "autodetect" or isinstance(evidence.nodes, Unseen):
        return
    without = [
        node.name for node in evidence.nodes if not any(":" in one for one in node.addresses)
    ]
    # clusters of one family report one InternalIP: only beside nodes that have both it tells
    if not without or len(without) == len(evidence.nodes):
        return
    yield Finding(
        check="cni.autodetect",
        severity=Severity.WARNING,
        cause=f"calico-node is to find an IPv6 address (IP6=autodetect), and there is none "
        f"{on_nodes(without)}",
        nodes=tuple(without),
        evidence=(
            "calico-node: IP6=autodetect, IP6_AUTODETECTION_METHOD="
            + (calico.get_env("IP6_AUTODETECTION_METHOD") or "first-found"),
        ),
        why="A node that has no stored IPv6 address fails at its next start with `failed to "
        "autodetect an IPv6 address`; host IPv6 must not be turned off while this stands.",
        remedies=(
            Remedy(
                text="Tell calico-node not to look for one.",
                scope="nodes",
                command=f"kubectl -n {calico.namespace} set env daemonset/calico-node IP6=none",
                side_effect="calico-node restarts, node by node; nodes have no IPv6 in Calico",
            ),
        ),
    )
