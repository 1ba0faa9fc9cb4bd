"""Nodes that a fix changed: whether they, and new pods on them, are as the fix left them.

The node agent reports on the hosts. If it was never started, no fix has changed a host.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.hosts import HostView
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.formats.conflist import ConflistError, disables_ipv6
from mirror.probe.model import PodDns

CATEGORY = "hosts"
RANK = 65  # its position in the report

_SYSCTL_FILE = "zz-pypi-mirror-ipv6.conf"
_REAPPLY = Remedy(
    text="Apply the fix to the nodes again.",
    scope="nodes",
    command="mirror fix pod-sysctl host-sysctl",
)
_ROLL_BACK = Remedy(
    text="Roll the fix back.", scope="nodes", command="mirror rollback pod-sysctl ippool"
)


def check_pod_start(evidence: Evidence) -> Iterator[Finding]:
    """Find nodes where a new pod did not start."""
    reasons = {
        node: view.reason
        for node, _, view in _iter_nodes(evidence)
        if isinstance(view, Unseen) and "not Ready" not in view.reason
    }
    if reasons:
        yield Finding(
            severity=Severity.ERROR,
            cause=f"a new pod does not start on {', '.join(reasons)}",
            nodes=tuple(reasons),
            evidence=tuple(f"{node}: {reason}" for node, reason in reasons.items()),
            remedies=(_ROLL_BACK,),
        )


def check_pod_ipv6(evidence: Evidence) -> Iterator[Finding]:
    """Find nodes whose new pods have IPv6 although the CNI should turn it off."""
    with_ipv6 = {
        node: view.ipv6_addresses
        for node, host, view in _iter_nodes(evidence)
        if not isinstance(view, Unseen)
        and _disables_ipv6(host)
        and (view.ipv6_addresses or view.ipv6_disabled is False)
    }
    if with_ipv6:
        yield Finding(
            severity=Severity.ERROR,
            cause=f"the CNI is to turn IPv6 off, and new pods have it on {', '.join(with_ipv6)}",
            nodes=tuple(with_ipv6),
            evidence=tuple(
                f"{node}: {', '.join(addresses) or 'IPv6 is on'}"
                for node, addresses in with_ipv6.items()
            ),
            remedies=(_REAPPLY,),
        )


def check_host_ipv6(evidence: Evidence) -> Iterator[Finding]:
    """Find hosts that turn IPv6 off at boot but have it now."""
    with_ipv6 = {
        node: host
        for node, host in _iter_hosts(evidence)
        if any(line.path.endswith(_SYSCTL_FILE) for line in host.sysctl_lines)
        and (host.get_disable_ipv6("all") == "0" or _list_addresses(host))
    }
    if with_ipv6:
        yield Finding(
            severity=Severity.WARNING,
            cause=f"IPv6 is off at boot, and on now: {', '.join(with_ipv6)}",
            nodes=tuple(with_ipv6),
            evidence=tuple(
                f"{node}: all.disable_ipv6 = {host.get_disable_ipv6('all')}, "
                f"{', '.join(_list_addresses(host)) or 'no address'}"
                for node, host in with_ipv6.items()
            ),
            remedies=(_REAPPLY,),
        )


def check_coverage(evidence: Evidence) -> Iterator[Finding]:
    """Find nodes that the agent could not see, and nodes that a fix has not reached."""
    unseen = {
        host.node: host.view.reason
        for host in require_seen(evidence.hosts)
        if isinstance(host.view, Unseen)
    }
    if unseen:
        yield Finding(
            severity=Severity.WARNING,
            cause=f"not reached: {', '.join(unseen)}",
            nodes=tuple(unseen),
            evidence=tuple(f"{node}: {reason}" for node, reason in unseen.items()),
            why="Settings at boot, and the files that calico-node writes, follow by themselves "
            "when the node is back; the rest needs the same command again.",
            remedies=(_REAPPLY,),
        )
    disabled = {node: _disables_ipv6(host) for node, host in _iter_hosts(evidence)}
    missing = [node for node, is_disabled in disabled.items() if not is_disabled]
    if any(disabled.values()) and missing:
        yield Finding(
            severity=Severity.WARNING,
            cause=f"new pods get IPv6 on {', '.join(missing)}, and on the other nodes they do not",
            nodes=tuple(missing),
            evidence=tuple(f"{node}: its CNI does not turn IPv6 off" for node in missing),
            why="The node joined after the fix, or was rolled back on its own because pods did not "
            "start.",
            remedies=(_REAPPLY,),
        )


def _iter_hosts(evidence: Evidence) -> Iterator[tuple[str, HostView]]:
    for host in require_seen(evidence.hosts):
        if not isinstance(host.view, Unseen):
            yield host.node, host.view


def _iter_nodes(evidence: Evidence) -> Iterator[tuple[str, HostView, PodDns | Unseen]]:
    """Yield (node, its host, the view of a new pod there) for every host that was seen."""
    hosts = dict(_iter_hosts(evidence))
    for pod in require_seen(evidence.pod_dns):
        if pod.node in hosts:
            yield pod.node, hosts[pod.node], pod.view


def _disables_ipv6(host: HostView) -> bool:
    """Whether the conflist that the container runtime uses turns IPv6 off in new pods."""
    conflist = min(host.conflists, key=lambda conflist: conflist.path, default=None)
    try:
        return conflist is not None and disables_ipv6(conflist.text)
    except ConflistError:
        return False


def _list_addresses(host: HostView) -> list[str]:
    return [address for address in host.addresses if not address.startswith("lo ")]


_HOSTS, _PODS = frozenset({Need.HOSTS}), frozenset({Need.HOSTS, Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="hosts.covered", fact="fixes reached every node", needs=_HOSTS, find=check_coverage
    ),
    DoctorCheck(
        id="hosts.off",
        fact="hosts that turn IPv6 off have none",
        needs=_HOSTS,
        find=check_host_ipv6,
    ),
    DoctorCheck(
        id="hosts.start", fact="new pods start on every node", needs=_PODS, find=check_pod_start
    ),
    DoctorCheck(
        id="hosts.pods",
        fact="new pods have no IPv6 where the CNI turns it off",
        needs=_PODS,
        find=check_pod_ipv6,
    ),
)
