"""Calico's address pools: whether new pods get addresses, and whether IPv6 works for them."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import has_unreachable_ipv6, iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import INFERRED, SEEN, Finding, Remedy, check, error, warning
from deploy.findings.phrases import join_names, on_nodes
from mirror.probe.model import PodDns

CATEGORY = "ippools"
RANK = 50  # its position in the report


@check(
    "ippools.assign-ipv6",
    "every family that the CNI assigns has an enabled pool",
    INFERRED,
    Need.IP_POOLS,
    Need.CALICO,
)
def check_assigned_families(evidence: Evidence) -> Iterator[Finding]:
    calico, pools = require_seen(evidence.calico), require_seen(evidence.ip_pools)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    assigned = {4: calico.conflist.assign_ipv4, 6: calico.conflist.assign_ipv6}
    for family, is_assigned in assigned.items():
        if not is_assigned or _list_enabled(evidence, family):
            continue
        disabled = [pool for pool in pools if pool.family == family]
        key = f"assign_ipv{family}"
        yield error(
            f"no new pod can start: the CNI asks for IPv{family} addresses ({key} is true) "
            f"and no IPv{family} pool is enabled",
            *_restore_family(calico, family, disabled),
            evidence=(
                f'ConfigMap {calico.namespace}/calico-config: "{key}": "true"',
                *(_describe_pools(pools) or ("there is no IPPool",)),
            ),
            why="calico-ipam rejects the whole pod if one family has no pool: `cannot find a "
            "qualified ippool`. Running pods keep their addresses, so the failure only shows at "
            f"the next restart. {key} has to be false before the pool is removed.",
        )


def _restore_family(calico: Calico, family: int, disabled: list[IpPool]) -> Iterator[Remedy]:
    if disabled:
        yield Remedy(
            f"Enable pool {disabled[0].name} again." + _explain_operator(calico),
            "cluster",
            _format_patch(disabled[0], '{"spec":{"disabled":false}}'),
            side_effect="pods get IPv6 addresses again" if family == 6 else "",
        )
    if family == 6:
        yield remedies.IPPOOL
    else:
        yield Remedy(
            "Create an IPv4 pool; `mirror rollback ippool` restores a pool that `mirror fix` "
            "disabled." + _explain_operator(calico),
            "cluster",
            "kubectl get ippools -o yaml",
        )


@check(
    "ippools.ipv6-pool",
    "pods only get IPv6 addresses if they can reach IPv6 networks",
    SEEN,
    Need.POD_DNS,
    Need.IP_POOLS,
    Need.CALICO,
)
def check_ipv6_pool(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    pools = _list_enabled(evidence, 6)
    if calico is None or not pools or (calico.conflist and not calico.conflist.assign_ipv6):
        return
    nodes = [node for node, view in iter_probe_views(evidence) if has_unreachable_ipv6(view)]
    if not nodes:
        return
    yield warning(
        f"pods get IPv6 addresses from pool {join_names(pool.name for pool in pools)}, and "
        f"no IPv6 leads out of the cluster {on_nodes(nodes)}",
        remedies.attach_workload(),
        remedies.USE_MIRROR,
        remedies.POD_SYSCTL,
        remedies.IPPOOL,
        nodes=nodes,
        evidence=_describe_pools(pools),
        why="A program with its own IPv6 address tries IPv6 first if DNS returns it. A program "
        "that falls back to IPv4 (curl) is slow; one that does not reports `Network unreachable "
        "(os error 101)`. Deleting the pool by hand breaks every new pod while assign_ipv6 is "
        "true, and calico-node recreates a deleted pool when it starts; a disabled pool stays "
        "disabled." + _explain_operator(calico),
    )


@check(
    "ippools.recreated", "a deleted IPv6 pool stays deleted", INFERRED, Need.IP_POOLS, Need.CALICO
)
def check_recreated_pool(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed or calico.operator:
        return
    has_ipv6_pool = any(pool.family == 6 for pool in require_seen(evidence.ip_pools))
    ip6 = (calico.get_env("IP6") or "none").lower()
    creates_pools = (calico.get_env("NO_DEFAULT_POOLS") or "").lower() != "true"
    cidr = calico.get_env("CALICO_IPV6POOL_CIDR")
    if has_ipv6_pool or not creates_pools or ip6 == "none" or cidr == "none":
        return
    yield warning(
        "there is no IPv6 pool, and calico-node will recreate default-ipv6-ippool when it "
        "next starts",
        Remedy(
            "Keep calico-node from creating pools.",
            "cluster",
            f"kubectl -n {calico.namespace} set env daemonset/calico-node "
            "NO_DEFAULT_POOLS=true IP6=none",
            side_effect="calico-node restarts, node by node",
        ),
        evidence=(
            f"calico-node: IP6={ip6}, NO_DEFAULT_POOLS is not true",
            f"CALICO_IPV6POOL_CIDR: {cidr or 'a random private range'}",
        ),
        why="When calico-node starts, it creates a pool for each enabled family that has none. A "
        "pool with `disabled: true` counts; a deleted one does not.",
    )


@check(
    "ippools.nat",
    "pods get answers from outside the cluster",
    INFERRED,
    Need.POD_DNS,
    Need.IP_POOLS,
    Need.CALICO,
)
def check_nat(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    pools = tuple(pool for pool in _list_enabled(evidence, 4) if not pool.nat_outgoing)
    if calico is None or not pools:
        return
    nodes = [node for node, view in iter_probe_views(evidence) if _has_no_ipv4(view)]
    if not nodes:
        return
    yield error(
        f"pool {join_names(pool.name for pool in pools)} has natOutgoing off, and pods get "
        f"no IPv4 connection out {on_nodes(nodes)}",
        remedies.USE_MIRROR,
        Remedy(
            "Let the nodes masquerade packets that leave the cluster.",
            "cluster",
            _format_patch(pools[0], '{"spec":{"natOutgoing":true}}'),
        ),
        nodes=nodes,
        evidence=_describe_pools(pools),
        why="Packets leave with the pod's private address, to which no answer can be routed, "
        "unless your routers learn it by BGP." + _explain_operator(calico),
    )


@check("ippools.enabled", "an address pool is enabled", INFERRED, Need.IP_POOLS, Need.CALICO)
def check_enabled_pool(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed or calico.conflist is not None:
        return  # with a conflist, ippools.assign-ipv6 reports it
    if _list_enabled(evidence, 4) or _list_enabled(evidence, 6):
        return
    yield error(
        "Calico runs, and no address pool is enabled: new pods get no address",
        Remedy("Enable or create a pool.", "cluster", "kubectl get ippools -o yaml"),
        evidence=_describe_pools(require_seen(evidence.ip_pools)) or ("there is no IPPool",),
        why="Their events say `cannot find a qualified ippool`." + _explain_operator(calico),
    )


def _list_enabled(evidence: Evidence, family: int) -> tuple[IpPool, ...]:
    """Return the enabled pools of a family that assign addresses to pods."""
    return tuple(
        pool
        for pool in require_seen(evidence.ip_pools)
        if pool.family == family
        and not pool.disabled
        and (not pool.allowed_uses or "Workload" in pool.allowed_uses)
    )


def _has_no_ipv4(view: PodDns) -> bool:
    """Whether a pod tried IPv4 connections, and none succeeded."""
    attempts = [attempt for name in view.names for attempt in name.connections]
    outcomes = {attempt.outcome for attempt in attempts if ":" not in attempt.address}
    return bool(outcomes) and "connects" not in outcomes


def _describe_pools(pools: tuple[IpPool, ...]) -> tuple[str, ...]:
    return tuple(
        f"pool {pool.name} {pool.cidr}: {'disabled' if pool.disabled else 'enabled'}"
        for pool in pools
    )


def _explain_operator(calico: Calico) -> str:
    """Return the sentence to add if an operator owns the pools."""
    if not calico.operator:
        return ""
    return (
        " The Tigera operator owns these pools: change its Installation (spec.calicoNetwork), or "
        "it reverts the change."
    )


def _format_patch(pool: IpPool, patch: str) -> str:
    return f"kubectl patch {pool.resource} {pool.name} --type=merge -p '{patch}'"


CHECKS = (
    check_enabled_pool,
    check_assigned_families,
    check_ipv6_pool,
    check_recreated_pool,
    check_nat,
)
