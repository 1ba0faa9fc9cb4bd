"""The pod network: Calico on each node, its conflist, and whether the nodes use it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from deploy.evidence.events import WarningEvents
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import (
    INFERRED,
    READ,
    SEEN,
    Finding,
    Remedy,
    check,
    error,
    warning,
)
from deploy.findings.phrases import join_names, on_nodes

CATEGORY = "cni"
RANK = 60  # its position in the report

_MAX_AGE = timedelta(minutes=15)  # of an event
_MICROK8S_MANIFEST = "/var/snap/microk8s/current/args/cni-network/cni.yaml"
_MICROK8S_CONFLIST = "/var/snap/microk8s/current/args/cni-network/10-calico.conflist"


@check("cni.pods", "Calico is Ready on every node it runs on", READ, Need.CALICO)
def check_calico_pods(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed:
        return
    not_ready = {pod.node or "no node": pod for pod in calico.pods if not pod.ready}
    if not not_ready and calico.pods:
        return
    yield error(
        f"calico-node is not ready {on_nodes(not_ready)}"
        if not_ready
        else "no pod of calico-node runs",
        Remedy(
            "Read its log.",
            "nodes",
            f"kubectl -n {calico.namespace} logs daemonset/calico-node -c calico-node --tail=50",
        ),
        nodes=(node for node in not_ready if node != "no node"),
        evidence=(
            f"pod {pod.name} {on_nodes([node])}: {pod.trouble or 'not Ready'}"
            for node, pod in not_ready.items()
        ),
        why="New pods there get no network, and routes and rules are no longer updated.",
    )


@check("cni.sandbox", "no pod waits for its network", SEEN, Need.WORKLOADS, Need.WARNING_EVENTS)
def check_sandbox(evidence: Evidence) -> Iterator[Finding]:
    for events in _iter_recent_sandbox_failures(evidence):
        pending = _list_pending(evidence, events)
        if not pending:
            continue  # they have started in the meantime
        no_pool = ("qualified ippool", "no configured Calico pools")
        has_no_pool = any(text in events.message for text in no_pool)
        if has_no_pool:
            why = "The CNI asks for an address of a family without an enabled pool: see ippools."
        elif "sysctl" in events.message and "not allowed" in events.message:
            why = (
                "/etc/cni/tuning/allowlist.conf on the node does not allow the key: add it there, "
                "or run `mirror rollback pod-sysctl`."
            )
        else:
            why = "The kubelet keeps trying: the pods start as soon as the cause is gone."
        yield error(
            f"pods in {events.namespace} do not start because their network cannot be set up: "
            f"{join_names(pending, 3)}",
            Remedy(
                "Read the whole message.",
                "workload",
                f"kubectl -n {events.namespace} describe pod {pending[0]}",
            ),
            *([remedies.IPPOOL] if has_no_pool else []),
            nodes=events.nodes,
            evidence=(_shorten(events.message),),
            why=why,
        )


def _iter_recent_sandbox_failures(evidence: Evidence) -> Iterator[WarningEvents]:
    oldest = datetime.fromisoformat(evidence.taken) - _MAX_AGE
    for events in require_seen(evidence.warning_events):
        is_recent = not events.last or datetime.fromisoformat(events.last) >= oldest
        if events.reason == "FailedCreatePodSandBox" and is_recent:
            yield events


def _list_pending(evidence: Evidence, events: WarningEvents) -> list[str]:
    pending = {
        pod.name
        for workload in require_seen(evidence.workloads)
        if workload.namespace == events.namespace
        for pod in workload.pods
        if pod.phase == "Pending"
    }
    return [name for name in events.names if name in pending]


def _shorten(message: str) -> str:
    """Return the end of a message: the cause is the last of a long chain of errors."""
    return message if len(message) <= 200 else "… " + message[-200:]


@check("cni.conflist", "the CNI configuration is valid", READ, Need.CALICO)
def check_conflist(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or not calico.conflist.broken:
        return
    yield error(
        f"the CNI configuration in ConfigMap {calico.namespace}/calico-config is not valid JSON",
        Remedy(
            "Correct the key cni_network_config, or roll back what `mirror fix` did.",
            "cluster",
            f"kubectl -n {calico.namespace} edit configmap calico-config",
        ),
        evidence=(calico.conflist.broken,),
        why="calico-node writes it to each node when it starts; from then on no pod starts there.",
    )


@check("cni.drift", "new pods match the CNI configuration", SEEN, Need.POD_DNS, Need.CALICO)
def check_drift(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    views = list(iter_probe_views(evidence))
    if calico.conflist.tunes_ipv6_off:
        setting, actual = "switches IPv6 off in new pods (tuning)", "disable_ipv6 = 0"
        nodes = [node for node, view in views if view.ipv6_disabled is False]
        fix = "pod-sysctl"
    elif not calico.conflist.assign_ipv6:
        setting, actual = "gives pods no IPv6 (assign_ipv6 is false)", "an IPv6 address"
        nodes = [node for node, view in views if view.ipv6_addresses]
        fix = "ippool"
    else:
        return
    if not nodes:
        return
    yield warning(
        f"the CNI configuration in {calico.namespace}/calico-config {setting}, and new pods "
        f"have {actual} {on_nodes(nodes)}",
        Remedy("Bring nodes and ConfigMap in line again.", "nodes", f"mirror fix {fix}"),
        Remedy(
            "Or let calico-node write the file again.",
            "nodes",
            f"kubectl -n {calico.namespace} rollout restart daemonset/calico-node",
            side_effect="new pods wait while it restarts, node by node",
        ),
        nodes=nodes,
        evidence=(f"a pod that was just started has {actual} ({on_nodes(nodes)})",),
        why="These nodes have a different file: calico-node only writes it when it starts"
        + (
            f". On MicroK8s the file is {_MICROK8S_CONFLIST}; whenever {_MICROK8S_MANIFEST} is "
            "applied again (by a refresh, or when a node joins), Calico is reset to what is in it."
            if remedies.is_microk8s(evidence)
            else ", and something else may have written it since."
        ),
    )


@check(
    "cni.felix", "Felix and the address pools agree on IPv6", INFERRED, Need.IP_POOLS, Need.CALICO
)
def check_felix(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None:
        return
    variable = calico.get_env("FELIX_IPV6SUPPORT")
    is_off = variable is not None and variable.lower() in {"false", "0", "no"}
    is_off_by_configuration = variable is None and calico.felix_ipv6 is False
    all_pools = require_seen(evidence.ip_pools)
    pools = [pool.name for pool in all_pools if pool.family == 6 and not pool.disabled]
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


@check(
    "cni.autodetect",
    "calico-node finds the addresses it looks for",
    INFERRED,
    Need.NODES,
    Need.CALICO,
)
def check_autodetect(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed:
        return
    if (calico.get_env("IP6") or "").lower() != "autodetect":
        return
    nodes = require_seen(evidence.nodes)
    without = [node.name for node in nodes if not any(":" in ip for ip in node.addresses)]
    # a single-stack cluster reports one InternalIP per node, so only a mix means anything
    if not without or len(without) == len(nodes):
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


CHECKS = (
    check_calico_pods,
    check_sandbox,
    check_conflist,
    check_drift,
    check_felix,
    check_autodetect,
)
