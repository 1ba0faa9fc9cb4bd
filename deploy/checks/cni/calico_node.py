"""calico-node's settings for IPv6, compared with the pools and the nodes."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, check, warning
from deploy.findings.phrases import join_names, on_nodes


@check("cni.felix", "Felix and the address pools agree on IPv6", Need.IP_POOLS, Need.CALICO)
def check_felix(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None:
        return
    variable = calico.get_env("FELIX_IPV6SUPPORT")
    is_off = variable is not None and variable.lower() in {"false", "0", "no"}
    is_off_by_configuration = variable is None and calico.felix_ipv6 is False
    pools = [
        pool.name
        for pool in require_seen(evidence.ip_pools)
        if pool.family == 6 and not pool.disabled
    ]
    assigns = calico.conflist is not None and calico.conflist.assign_ipv6
    if not pools or not assigns or not (is_off or is_off_by_configuration):
        return
    yield warning(
        "calico-node does nothing for IPv6 (FELIX_IPV6SUPPORT=false), and pods are given "
        "IPv6 addresses all the same",
        remedies.IPPOOL,
        Remedy(
            "Or let Felix route IPv6 again.",
            "nodes",
            f"kubectl -n {calico.namespace} set env daemonset/calico-node FELIX_IPV6SUPPORT=true",
            side_effect="calico-node restarts, node by node",
        ),
        evidence=(
            f"FELIX_IPV6SUPPORT={variable}"
            if is_off
            else "FelixConfiguration default: ipv6Support false",
            f"IPv6 pool {join_names(pools)} is enabled, assign_ipv6 is true",
        ),
        why="FELIX_IPV6SUPPORT only controls whether Felix programs IPv6 routes and rules on the "
        "nodes; calico-ipam assigns the addresses. A pod's IPv6 address then leads nowhere, not "
        "even to the next pod, and programs that try it first wait or fail.",
    )


@check("cni.autodetect", "calico-node finds the addresses it looks for", Need.NODES, Need.CALICO)
def check_autodetect(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed:
        return
    ip6 = (calico.get_env("IP6") or "none").lower()
    if ip6 != "autodetect" or isinstance(evidence.nodes, Unseen):
        return
    without = [
        node.name
        for node in evidence.nodes
        if not any(":" in address for address in node.addresses)
    ]
    # a single-stack cluster reports one InternalIP per node, so only a mix means anything
    if not without or len(without) == len(evidence.nodes):
        return
    method = calico.get_env("IP6_AUTODETECTION_METHOD") or "first-found"
    yield warning(
        f"calico-node looks for an IPv6 address (IP6=autodetect), and there is none "
        f"{on_nodes(without)}",
        Remedy(
            "Tell calico-node not to look for an IPv6 address.",
            "nodes",
            f"kubectl -n {calico.namespace} set env daemonset/calico-node IP6=none",
            side_effect="calico-node restarts, node by node; Calico no longer knows IPv6 "
            "addresses of nodes",
        ),
        nodes=without,
        evidence=(f"calico-node: IP6=autodetect, IP6_AUTODETECTION_METHOD={method}",),
        why="On a node without a stored IPv6 address, calico-node fails at its next start with "
        "`failed to autodetect an IPv6 address`. Do not turn IPv6 off on hosts before this is "
        "fixed.",
    )
