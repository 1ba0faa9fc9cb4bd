"""Nodes that a fix reached: whether they are, and new pods there are, as it says.

Seen by the node agent; where it was never started there is nothing to be said.
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
RANK = 70  # where it stands in the report

_BOOT = "zz-pypi-mirror-ipv6.conf"


def check_pod_start(evidence: Evidence) -> Iterator[Finding]:
    """Nodes on which a pod that was just made did not run."""
    why = {
        node: view.reason
        for node, _, view in _both(evidence)
        if isinstance(view, Unseen) and "not Ready" not in view.reason
    }
    if why:
        yield Finding(
            check="hosts.start",
            severity=Severity.ERROR,
            cause=f"a new pod does not start on {', '.join(why)}",
            nodes=tuple(why),
            evidence=tuple(f"{node}: {reason}" for node, reason in why.items()),
            remedies=(_UNDO,),
        )


def check_pod_ipv6(evidence: Evidence) -> Iterator[Finding]:
    """New pods that have IPv6 though the CNI is to turn it off."""
    wrong = {
        node: view.ipv6_addresses
        for node, host, view in _both(evidence)
        if not isinstance(view, Unseen)
        and _tunes(host)
        and (view.ipv6_addresses or view.ipv6_disabled is False)
    }
    if wrong:
        yield Finding(
            check="hosts.pods",
            severity=Severity.ERROR,
            cause=f"the CNI is to turn IPv6 off, and new pods have it on {', '.join(wrong)}",
            nodes=tuple(wrong),
            evidence=tuple(f"{node}: {', '.join(has) or 'on'}" for node, has in wrong.items()),
            remedies=(_AGAIN,),
        )


def check_host_ipv6(evidence: Evidence) -> Iterator[Finding]:
    """Hosts whose boot turns IPv6 off and that have it all the same."""
    wrong = {
        node: host
        for node, host in _hosts(evidence)
        if any(one.path.endswith(_BOOT) for one in host.sysctl_lines)
        and (host.get_disable_ipv6("all") == "0" or _addresses(host))
    }
    if wrong:
        yield Finding(
            check="hosts.off",
            severity=Severity.WARNING,
            cause=f"IPv6 is off at boot, and on now: {', '.join(wrong)}",
            nodes=tuple(wrong),
            evidence=tuple(
                f"{node}: all.disable_ipv6 = {host.get_disable_ipv6('all')}, "
                f"{', '.join(_addresses(host)) or 'no address'}"
                for node, host in wrong.items()
            ),
            remedies=(_AGAIN,),
        )


def check_coverage(evidence: Evidence) -> Iterator[Finding]:
    """Nodes that the agent could not look at: no fix can be said to be there."""
    lost = {
        one.node: one.view for one in require_seen(evidence.hosts) if isinstance(one.view, Unseen)
    }
    if lost:
        yield Finding(
            check="hosts.covered",
            severity=Severity.WARNING,
            cause=f"not reached: {', '.join(lost)}",
            nodes=tuple(lost),
            evidence=tuple(f"{node}: {view.reason}" for node, view in lost.items()),
            why="What is done at boot, and what calico-node writes, is caught up by itself when "
            "the node is back; the rest by the same command.",
            remedies=(_AGAIN,),
        )
    tuned = {node: _tunes(host) for node, host in _hosts(evidence)}
    behind = [node for node, done in tuned.items() if not done]
    if any(tuned.values()) and behind:
        yield Finding(
            check="hosts.covered",
            severity=Severity.WARNING,
            cause=f"new pods get IPv6 on {', '.join(behind)}, and on the other nodes they do not",
            nodes=tuple(behind),
            evidence=tuple(f"{node}: its CNI is not told to turn IPv6 off" for node in behind),
            why="The node joined after the fix, or was put back alone because pods did not start.",
            remedies=(_AGAIN,),
        )


_AGAIN = Remedy(
    text="Bring the nodes to it again.", scope="nodes", command="mirror fix pod-sysctl host-sysctl"
)
_UNDO = Remedy(
    text="Take the fix back.", scope="nodes", command="mirror rollback pod-sysctl ippool"
)


def _hosts(evidence: Evidence) -> Iterator[tuple[str, HostView]]:
    for one in require_seen(evidence.hosts):
        if not isinstance(one.view, Unseen):
            yield one.node, one.view


def _both(evidence: Evidence) -> Iterator[tuple[str, HostView, PodDns | Unseen]]:
    hosts = dict(_hosts(evidence))
    for one in require_seen(evidence.pod_dns):
        if one.node in hosts:
            yield one.node, hosts[one.node], one.view


def _tunes(host: HostView) -> bool:
    used = min(host.conflists, key=lambda one: one.path, default=None)
    try:
        return used is not None and disables_ipv6(used.text)
    except ConflistError:
        return False


def _addresses(host: HostView) -> list[str]:
    return [one for one in host.addresses if not one.startswith("lo ")]


_HOSTS, _PODS = frozenset({Need.HOSTS}), frozenset({Need.HOSTS, Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="hosts.covered", fact="the node agent sees every node", needs=_HOSTS, find=check_coverage
    ),
    DoctorCheck(
        id="hosts.off", fact="hosts without IPv6 have none", needs=_HOSTS, find=check_host_ipv6
    ),
    DoctorCheck(
        id="hosts.start", fact="pods start on every node", needs=_PODS, find=check_pod_start
    ),
    DoctorCheck(
        id="hosts.pods", fact="pods without IPv6 have none", needs=_PODS, find=check_pod_ipv6
    ),
)
