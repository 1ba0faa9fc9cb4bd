"""Nodes that a fix changed: whether they, and new pods on them, are as the fix left them.

The node agent reports on the hosts. If it was never started, no fix has changed a host.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.hosts import HostView
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings.model import SEEN, Finding, Remedy, check, error, warning
from deploy.formats.conflist import ConflistError, disables_ipv6
from mirror.probe.model import PodDns

CATEGORY = "hosts"
RANK = 65  # its position in the report

_SYSCTL_FILE = "zz-pypi-mirror-ipv6.conf"
_REAPPLY = Remedy("Apply the fix to the nodes again.", "nodes", "mirror fix pod-sysctl host-sysctl")
_REPLACE = Remedy(
    "Look who wrote it (managedFields of ConfigMap kube-system/pypi-mirror-node-orders), then have "
    "the fix write it again.",
    "nodes",
    "mirror fix host-sysctl",
)
_ROLL_BACK = Remedy("Roll the fix back.", "nodes", "mirror rollback pod-sysctl ippool")


@check("hosts.start", "new pods start on every node", SEEN, Need.POD_DNS, Need.HOSTS)
def check_pod_start(evidence: Evidence) -> Iterator[Finding]:
    reasons = {
        node: view.reason
        for node, _, view in _iter_nodes(evidence)
        if isinstance(view, Unseen) and "not Ready" not in view.reason
    }
    if reasons:
        yield error(
            f"a new pod does not start on {', '.join(reasons)}",
            _ROLL_BACK,
            nodes=reasons,
            evidence=(f"{node}: {reason}" for node, reason in reasons.items()),
        )


@check(
    "hosts.pods", "new pods have no IPv6 where the CNI turns it off", SEEN, Need.POD_DNS, Need.HOSTS
)
def check_pod_ipv6(evidence: Evidence) -> Iterator[Finding]:
    with_ipv6 = {
        node: view.ipv6_addresses
        for node, host, view in _iter_nodes(evidence)
        if not isinstance(view, Unseen)
        and _disables_ipv6(host)
        and (view.ipv6_addresses or view.ipv6_disabled is False)
    }
    if with_ipv6:
        yield error(
            f"new pods have IPv6 on {', '.join(with_ipv6)} although the CNI should turn it off",
            _REAPPLY,
            nodes=with_ipv6,
            evidence=(
                f"{node}: {', '.join(addresses) or 'IPv6 is on'}"
                for node, addresses in with_ipv6.items()
            ),
        )


@check("hosts.off", "hosts that turn IPv6 off have none", SEEN, Need.HOSTS)
def check_host_ipv6(evidence: Evidence) -> Iterator[Finding]:
    with_ipv6 = {
        node: host
        for node, host in _iter_hosts(evidence)
        if any(line.path.endswith(_SYSCTL_FILE) for line in host.sysctl_lines)
        and (host.get_disable_ipv6("all") == "0" or _list_addresses(host))
    }
    if with_ipv6:
        yield warning(
            f"IPv6 is off at boot, and on now: {', '.join(with_ipv6)}",
            _REAPPLY,
            nodes=with_ipv6,
            evidence=(
                f"{node}: all.disable_ipv6 = {host.get_disable_ipv6('all')}, "
                f"{', '.join(_list_addresses(host)) or 'no address'}"
                for node, host in with_ipv6.items()
            ),
        )


@check("hosts.covered", "fixes reached every node", SEEN, Need.HOSTS)
def check_coverage(evidence: Evidence) -> Iterator[Finding]:
    unseen = {
        host.node: host.view.reason
        for host in require_seen(evidence.hosts)
        if isinstance(host.view, Unseen)
    }
    if unseen:
        yield warning(
            f"the node agent does not reach {', '.join(unseen)}",
            _REAPPLY,
            nodes=unseen,
            evidence=(f"{node}: {reason}" for node, reason in unseen.items()),
            why="Settings at boot, and the files that calico-node writes, follow by themselves "
            "when the node is back; the rest needs the same command again.",
        )
    disabled = {node: _disables_ipv6(host) for node, host in _iter_hosts(evidence)}
    missing = [node for node, is_disabled in disabled.items() if not is_disabled]
    if any(disabled.values()) and missing:
        yield warning(
            f"new pods get IPv6 on {', '.join(missing)}, and on the other nodes they do not",
            _REAPPLY,
            nodes=missing,
            evidence=(f"{node}: its CNI does not turn IPv6 off" for node in missing),
            why="The node joined after the fix, or was rolled back on its own because pods did not "
            "start.",
        )


@check("hosts.refused", "node agents were told only what fixes write", SEEN, Need.HOSTS)
def check_refused(evidence: Evidence) -> Iterator[Finding]:
    rejected = {node: host.rejected for node, host in _iter_hosts(evidence) if host.rejected}
    if rejected:
        yield warning(
            f"the node agent refuses what it was told on {', '.join(rejected)}",
            _REPLACE,
            nodes=rejected,
            evidence=(f"{node}: {line}" for node, lines in rejected.items() for line in lines),
            why="No fix writes this: somebody altered the node defaults or the agent's own files, "
            "or they are of another version. The agent changed nothing because of it.",
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


CHECKS = (check_coverage, check_host_ipv6, check_pod_start, check_pod_ipv6, check_refused)
