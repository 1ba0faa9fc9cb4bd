"""Calico's address pools: whether new pods get addresses, and IPv6 ones that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.calico import Calico, IpPool
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import has_unreachable_ipv6, iter_probe_views
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.findings.phrases import join_names, on_nodes

CATEGORY = "ippools"
RANK = 50  # where it stands in the report

_CALICO = frozenset({Need.IP_POOLS, Need.CALICO})


def _enabled(evidence: Evidence, family: int) -> list[IpPool]:
    """Pools that workloads get addresses from."""
    return [
        pool
        for pool in require_seen(evidence.ip_pools)
        if pool.family == family
        and not pool.disabled
        and (not pool.allowed_uses or "Workload" in pool.allowed_uses)
    ]


def _shown(pools: tuple[IpPool, ...]) -> tuple[str, ...]:
    return tuple(
        f"pool {pool.name} {pool.cidr}: {'disabled' if pool.disabled else 'enabled'}"
        for pool in pools
    )


def _patch(pool: IpPool, spec: str) -> str:
    return f"kubectl patch {pool.resource} {pool.name} --type=merge -p '{spec}'"


def _owner(calico: Calico) -> str:
    """Where an operator owns the pools, the words that say so."""
    return (
        " The Tigera operator owns these pools: change its Installation (spec.calicoNetwork), or "
        "it puts them back."
        if calico.operator
        else ""
    )


def check_assigned_families(evidence: Evidence) -> Iterator[Finding]:
    """calico-ipam is told to give addresses of a family that no enabled pool has."""
    calico, pools = require_seen(evidence.calico), require_seen(evidence.ip_pools)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    for family, wanted in ((4, calico.conflist.assign_ipv4), (6, calico.conflist.assign_ipv6)):
        if not wanted or _enabled(evidence, family):
            continue
        off = [pool for pool in pools if pool.family == family]
        key = f"assign_ipv{family}"
        ways = []
        if off:
            ways.append(
                Remedy(
                    text=f"Enable pool {off[0].name} again." + _owner(calico),
                    scope="cluster",
                    command=_patch(off[0], '{"spec":{"disabled":false}}'),
                    side_effect="pods get IPv6 addresses again" if family == 6 else "",
                )
            )
        if family == 6:
            ways.append(remedies.IPPOOL)
        else:
            ways.append(
                Remedy(
                    text="Make an IPv4 pool; `mirror rollback ippool` brings back one that "
                    "`mirror fix` took." + _owner(calico),
                    scope="cluster",
                    command="kubectl get ippools -o yaml",
                )
            )
        yield Finding(
            check="ippools.assign-ipv6",
            severity=Severity.ERROR,
            cause=f"no new pod can start: the CNI asks for IPv{family} addresses ({key} is true) "
            f"and no IPv{family} pool is enabled",
            evidence=(
                f'ConfigMap {calico.namespace}/calico-config: "{key}": "true"',
                *(_shown(pools) or ("there is no IPPool at all",)),
            ),
            why="calico-ipam fails the whole pod when one family has no pool: `cannot find a "
            "qualified ippool`. Running pods keep their addresses, so it shows at the next "
            f"restart. {key} has to go to false before the pool goes.",
            remedies=tuple(ways),
        )


def check_ipv6_pool(evidence: Evidence) -> Iterator[Finding]:
    """An IPv6 pool is on, and pods' IPv6 gets nowhere."""
    calico = require_seen(evidence.calico)
    pools = _enabled(evidence, 6)
    if calico is None or not pools or (calico.conflist and not calico.conflist.assign_ipv6):
        return
    lost = [node for node, view in iter_probe_views(evidence) if has_unreachable_ipv6(view)]
    if not lost:
        return
    yield Finding(
        check="ippools.ipv6-pool",
        severity=Severity.WARNING,
        cause=f"pods get IPv6 addresses from pool {join_names(pool.name for pool in pools)}, and "
        f"no IPv6 leads out of the cluster {on_nodes(lost)}",
        nodes=tuple(lost),
        evidence=_shown(tuple(pools)),
        why="With an address of its own a program tries IPv6 first wherever DNS answers one: one "
        "that falls back (curl) is slow, one that does not says `Network unreachable (os error "
        "101)`. Deleting the pool by hand breaks every new pod while assign_ipv6 is true, and "
        "calico-node makes a deleted pool again at its next start; a disabled one stays disabled."
        + _owner(calico),
        remedies=(
            remedies.attach_workload(),
            remedies.USE_MIRROR,
            remedies.POD_SYSCTL,
            remedies.IPPOOL,
        ),
    )


def check_recreated_pool(evidence: Evidence) -> Iterator[Finding]:
    """The IPv6 pool was deleted, and the next start of calico-node makes it again."""
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed or calico.operator:
        return
    six = [pool for pool in require_seen(evidence.ip_pools) if pool.family == 6]
    ip6 = (calico.get_env("IP6") or "none").lower()
    kept = (calico.get_env("NO_DEFAULT_POOLS") or "").lower() == "true"
    if six or kept or ip6 == "none" or calico.get_env("CALICO_IPV6POOL_CIDR") == "none":
        return
    cidr = calico.get_env("CALICO_IPV6POOL_CIDR") or "a random private range"
    yield Finding(
        check="ippools.recreated",
        severity=Severity.WARNING,
        cause="there is no IPv6 pool, and calico-node makes default-ipv6-ippool again the next "
        "time it starts",
        evidence=(
            f"calico-node: IP6={ip6}, NO_DEFAULT_POOLS is not true",
            f"CALICO_IPV6POOL_CIDR: {cidr}",
        ),
        why="At each start calico-node looks for a pool of each family that is on. A pool with "
        "`disabled: true` counts as there; a deleted one does not.",
        remedies=(
            Remedy(
                text="Keep calico-node from making pools.",
                scope="cluster",
                command=f"kubectl -n {calico.namespace} set env daemonset/calico-node "
                "NO_DEFAULT_POOLS=true IP6=none",
                side_effect="calico-node restarts, node by node",
            ),
        ),
    )


def check_nat(evidence: Evidence) -> Iterator[Finding]:
    """Pods cannot get out, and their pool is not masqueraded."""
    calico = require_seen(evidence.calico)
    bare = [pool for pool in _enabled(evidence, 4) if not pool.nat_outgoing]
    if calico is None or not bare:
        return
    cut = [
        node
        for node, view in iter_probe_views(evidence)
        if (tried := [c for name in view.names for c in name.connections if ":" not in c.address])
        and not any(one.outcome == "connects" for one in tried)
    ]
    if not cut:
        return
    yield Finding(
        check="ippools.nat",
        severity=Severity.ERROR,
        cause=f"pool {join_names(pool.name for pool in bare)} has natOutgoing off, and pods get no "
        f"IPv4 connection out {on_nodes(cut)}",
        nodes=tuple(cut),
        evidence=_shown(tuple(bare)),
        why="Packets leave with the pod's own private address, and nothing outside knows the way "
        "back to it, unless your routers learn it by BGP." + _owner(calico),
        remedies=(
            remedies.USE_MIRROR,
            Remedy(
                text="Let the nodes masquerade what leaves the cluster.",
                scope="cluster",
                command=_patch(bare[0], '{"spec":{"natOutgoing":true}}'),
            ),
        ),
    )


def check_enabled_pool(evidence: Evidence) -> Iterator[Finding]:
    """calico-node runs and no IPv4 pool is there that pods could use."""
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed or calico.conflist is not None:
        return  # with a conflist, ippools.assign-ipv6 says it
    if isinstance(evidence.ip_pools, Unseen) or _enabled(evidence, 4) or _enabled(evidence, 6):
        return
    yield Finding(
        check="ippools.enabled",
        severity=Severity.ERROR,
        cause="Calico runs, and no address pool is enabled: new pods get no address",
        evidence=_shown(require_seen(evidence.ip_pools)) or ("there is no IPPool at all",),
        why="`cannot find a qualified ippool` is what their events say." + _owner(calico),
        remedies=(
            Remedy(
                text="Enable or make a pool.",
                scope="cluster",
                command="kubectl get ippools -o yaml",
            ),
        ),
    )


CHECKS = (
    DoctorCheck(
        id="ippools.enabled",
        fact="an address pool is enabled",
        needs=_CALICO,
        find=check_enabled_pool,
    ),
    DoctorCheck(
        id="ippools.assign-ipv6",
        fact="every family that the CNI asks for has an enabled pool",
        needs=_CALICO,
        find=check_assigned_families,
    ),
    DoctorCheck(
        id="ippools.ipv6-pool",
        fact="IPv6 addresses are given to pods only where IPv6 leads out",
        needs=_CALICO | {Need.POD_DNS},
        find=check_ipv6_pool,
    ),
    DoctorCheck(
        id="ippools.recreated",
        fact="a deleted IPv6 pool stays deleted",
        needs=_CALICO,
        find=check_recreated_pool,
    ),
    DoctorCheck(
        id="ippools.nat",
        fact="what pods send out finds its way back",
        needs=_CALICO | {Need.POD_DNS},
        find=check_nat,
    ),
)
