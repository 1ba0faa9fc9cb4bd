"""What starts pods' networks: Calico on each node, its conflist, and whether nodes follow it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from deploy import mends
from deploy.evidence.model import Check, Evidence, Finding, Mend, Need, Severity, Unseen, sight
from deploy.evidence.sights import seen
from deploy.evidence.things import Calico, Warned
from deploy.phrases import listed, on

CATEGORY = "cni"
RANK = 60  # where it stands in the report

_RECENT = timedelta(minutes=15)
_MICROK8S_FILE = "/var/snap/microk8s/current/args/cni-network/cni.yaml"
_NODE_FILES = "/var/snap/microk8s/current/args/cni-network/10-calico.conflist"


def pods(evidence: Evidence) -> Iterator[Finding]:
    """Nodes whose calico-node is not ready."""
    calico = sight(evidence.calico)
    if calico is None or not calico.installed:
        return
    down = {pod.node or "no node": pod for pod in calico.pods if not pod.ready}
    if not down and calico.pods:
        return
    yield Finding(
        check="cni.pods",
        severity=Severity.ERROR,
        cause=f"calico-node is not ready {on(down)}" if down else "no pod of calico-node runs",
        nodes=tuple(node for node in down if node != "no node"),
        evidence=tuple(
            f"pod {pod.name} {on([node])}: {pod.trouble or 'not ready'}"
            for node, pod in down.items()
        ),
        why="New pods there get no network, and routes and rules are not kept.",
        mends=(
            Mend(
                text="Read what it says.",
                reach="nodes",
                command=f"kubectl -n {calico.namespace} logs daemonset/calico-node -c calico-node "
                "--tail=50",
            ),
        ),
    )


def sandbox(evidence: Evidence) -> Iterator[Finding]:
    """Pods that do not start because their network cannot be made."""
    for warned in _recent(evidence, "FailedCreatePodSandBox"):
        pending = _pending(evidence, warned)
        if not pending:
            continue  # it started meanwhile
        pool = (
            "qualified ippool" in warned.message or "no configured Calico pools" in warned.message
        )
        refused = "sysctl" in warned.message and "not allowed" in warned.message
        ways = [
            Mend(
                text="Read all of it.",
                reach="workload",
                command=f"kubectl -n {warned.namespace} describe pod {pending[0]}",
            )
        ]
        if pool:
            ways.append(mends.IPPOOL)
        yield Finding(
            check="cni.sandbox",
            severity=Severity.ERROR,
            cause=f"pods in {warned.namespace} do not start, their network cannot be made: "
            f"{listed(pending, 3)}",
            nodes=warned.nodes,
            evidence=(_tail(warned.message),),
            why="The CNI asks for an address of a family that has no enabled pool: see ippools."
            if pool
            else "/etc/cni/tuning/allowlist.conf on the node refuses the key: add it there, or "
            "`mirror rollback pod-sysctl`."
            if refused
            else "The kubelet tries again all the time: once the cause has gone they start.",
            mends=tuple(ways),
        )


def _recent(evidence: Evidence, reason: str) -> Iterator[Warned]:
    now = datetime.fromisoformat(evidence.taken)
    for warned in sight(evidence.warned):
        if warned.reason != reason:
            continue
        if warned.last and now - datetime.fromisoformat(warned.last) > _RECENT:
            continue
        yield warned


def _pending(evidence: Evidence, warned: Warned) -> list[str]:
    every = {
        pod.name
        for workload in sight(evidence.workloads)
        if workload.namespace == warned.namespace
        for pod in workload.pods
        if pod.phase == "Pending"
    }
    return [name for name in warned.names if name in every]


def _tail(message: str) -> str:
    """The cause stands at the end of a long chain of errors."""
    return message if len(message) <= 200 else "… " + message[-200:]


def conflist(evidence: Evidence) -> Iterator[Finding]:
    """The template of the conflist cannot be read."""
    calico = sight(evidence.calico)
    if calico is None or calico.conflist is None or not calico.conflist.broken:
        return
    yield Finding(
        check="cni.conflist",
        severity=Severity.ERROR,
        cause=f"the CNI configuration in ConfigMap {calico.namespace}/calico-config is no JSON",
        evidence=(calico.conflist.broken,),
        why="calico-node writes it to each node when it starts: from then on no pod starts there.",
        mends=(
            Mend(
                text="Mend the key cni_network_config, or take back what `mirror fix` did.",
                reach="cluster",
                command=f"kubectl -n {calico.namespace} edit configmap calico-config",
            ),
        ),
    )


def drift(evidence: Evidence) -> Iterator[Finding]:
    """What new pods have is not what the conflist in the ConfigMap says."""
    calico = sight(evidence.calico)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    told = calico.conflist
    untuned, given = [], []
    for node, view in seen(evidence):
        if told.tunes_ipv6_off and view.ipv6_disabled is False:
            untuned.append(node)
        elif not told.assign_ipv6 and not told.tunes_ipv6_off and view.ipv6_addresses:
            given.append(node)
    for nodes, says, has in (
        (untuned, "switches IPv6 off in new pods (tuning)", "disable_ipv6 = 0"),
        (given, "gives pods no IPv6 (assign_ipv6 is false)", "an IPv6 address"),
    ):
        if nodes:
            yield _drifted(evidence, calico, nodes, says, has)


def _drifted(evidence: Evidence, calico: Calico, nodes: list[str], says: str, has: str) -> Finding:
    microk8s = mends.on_microk8s(evidence)
    return Finding(
        check="cni.drift",
        severity=Severity.WARNING,
        cause=f"the CNI configuration in {calico.namespace}/calico-config {says}, and new pods "
        f"have {has} {on(nodes)}",
        nodes=tuple(nodes),
        evidence=(f"a pod started just now has {has} ({on(nodes)})",),
        why="The file on these nodes is another one: calico-node writes it only when it starts"
        + (
            f". On MicroK8s the file is {_NODE_FILES}, and {_MICROK8S_FILE} brings Calico back as "
            "it stands there whenever it is applied again (a refresh, a node that joins)."
            if microk8s
            else ", and something else may have written it since."
        ),
        mends=(
            Mend(
                text="Bring nodes and ConfigMap together again.",
                reach="nodes",
                command="mirror fix pod-sysctl" if "tuning" in says else "mirror fix ippool",
            ),
            Mend(
                text="Or let calico-node write the file again.",
                reach="nodes",
                command=f"kubectl -n {calico.namespace} rollout restart daemonset/calico-node",
                price="new pods wait while it restarts, node by node",
            ),
        ),
    )


def felix(evidence: Evidence) -> Iterator[Finding]:
    """IPv6 is off in Felix and on in the address pools: addresses that nothing routes."""
    calico = sight(evidence.calico)
    if calico is None:
        return
    variable = calico.variable("FELIX_IPV6SUPPORT")
    off = variable is not None and variable.lower() in {"false", "0", "no"}
    pools = [
        pool.name for pool in sight(evidence.ip_pools) if pool.family == 6 and not pool.disabled
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
            f"IPv6 pool {listed(pools)} is enabled, assign_ipv6 is true",
        ),
        why="FELIX_IPV6SUPPORT only says whether Felix programs IPv6 routes and rules on the "
        "nodes. Addresses come from calico-ipam: a pod's IPv6 address then leads nowhere, not even "
        "to its neighbour, and programs that try it first wait or fail.",
        mends=(
            mends.IPPOOL,
            Mend(
                text="Or let Felix serve IPv6 again.",
                reach="nodes",
                command=f"kubectl -n {calico.namespace} set env daemonset/calico-node "
                "FELIX_IPV6SUPPORT=true",
                price="calico-node restarts, node by node",
            ),
        ),
    )


def autodetect(evidence: Evidence) -> Iterator[Finding]:
    """calico-node looks for an IPv6 address on nodes that have none."""
    calico = sight(evidence.calico)
    if calico is None or not calico.installed:
        return
    ip6 = (calico.variable("IP6") or "none").lower()
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
        f"{on(without)}",
        nodes=tuple(without),
        evidence=(
            "calico-node: IP6=autodetect, IP6_AUTODETECTION_METHOD="
            + (calico.variable("IP6_AUTODETECTION_METHOD") or "first-found"),
        ),
        why="A node that has no stored IPv6 address fails at its next start with `failed to "
        "autodetect an IPv6 address`; host IPv6 must not be turned off while this stands.",
        mends=(
            Mend(
                text="Tell calico-node not to look for one.",
                reach="nodes",
                command=f"kubectl -n {calico.namespace} set env daemonset/calico-node IP6=none",
                price="calico-node restarts, node by node; nodes have no IPv6 in Calico",
            ),
        ),
    )


_CALICO = frozenset({Need.CALICO})

CHECKS = (
    Check(
        id="cni.pods",
        fact="Calico is ready on every node it runs on",
        needs=_CALICO,
        look=pods,
    ),
    Check(
        id="cni.sandbox",
        fact="no pod waits for its network",
        needs=frozenset({Need.WARNED, Need.WORKLOADS}),
        look=sandbox,
    ),
    Check(
        id="cni.conflist",
        fact="the CNI configuration can be read",
        needs=_CALICO,
        look=conflist,
    ),
    Check(
        id="cni.drift",
        fact="new pods have what the CNI configuration says",
        needs=_CALICO | {Need.POD_DNS},
        look=drift,
    ),
    Check(
        id="cni.felix",
        fact="Felix and the address pools agree on IPv6",
        needs=_CALICO | {Need.IP_POOLS},
        look=felix,
    ),
    Check(
        id="cni.autodetect",
        fact="calico-node finds the addresses it looks for",
        needs=_CALICO | {Need.NODES},
        look=autodetect,
    ),
)
