"""Whether pods start: calico-node on their node, and what the kubelet says of their network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from deploy.evidence.events import WarningEvents
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import join_names, on_nodes

_RECENT = timedelta(minutes=15)


def check_calico_pods(evidence: Evidence) -> Iterator[Finding]:
    """Nodes whose calico-node is not ready."""
    calico = require_seen(evidence.calico)
    if calico is None or not calico.installed:
        return
    down = {pod.node or "no node": pod for pod in calico.pods if not pod.ready}
    if not down and calico.pods:
        return
    yield Finding(
        check="cni.pods",
        severity=Severity.ERROR,
        cause=f"calico-node is not ready {on_nodes(down)}"
        if down
        else "no pod of calico-node runs",
        nodes=tuple(node for node in down if node != "no node"),
        evidence=tuple(
            f"pod {pod.name} {on_nodes([node])}: {pod.trouble or 'not ready'}"
            for node, pod in down.items()
        ),
        why="New pods there get no network, and routes and rules are not kept.",
        remedies=(
            Remedy(
                text="Read what it says.",
                scope="nodes",
                command=f"kubectl -n {calico.namespace} logs daemonset/calico-node -c calico-node "
                "--tail=50",
            ),
        ),
    )


def check_sandbox(evidence: Evidence) -> Iterator[Finding]:
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
            Remedy(
                text="Read all of it.",
                scope="workload",
                command=f"kubectl -n {warned.namespace} describe pod {pending[0]}",
            )
        ]
        if pool:
            ways.append(remedies.IPPOOL)
        yield Finding(
            check="cni.sandbox",
            severity=Severity.ERROR,
            cause=f"pods in {warned.namespace} do not start, their network cannot be made: "
            f"{join_names(pending, 3)}",
            nodes=warned.nodes,
            evidence=(_tail(warned.message),),
            why="The CNI asks for an address of a family that has no enabled pool: see ippools."
            if pool
            else "/etc/cni/tuning/allowlist.conf on the node refuses the key: add it there, or "
            "`mirror rollback pod-sysctl`."
            if refused
            else "The kubelet tries again all the time: once the cause has gone they start.",
            remedies=tuple(ways),
        )


def _recent(evidence: Evidence, reason: str) -> Iterator[WarningEvents]:
    now = datetime.fromisoformat(evidence.taken)
    for warned in require_seen(evidence.warning_events):
        if warned.reason != reason:
            continue
        if warned.last and now - datetime.fromisoformat(warned.last) > _RECENT:
            continue
        yield warned


def _pending(evidence: Evidence, warned: WarningEvents) -> list[str]:
    every = {
        pod.name
        for workload in require_seen(evidence.workloads)
        if workload.namespace == warned.namespace
        for pod in workload.pods
        if pod.phase == "Pending"
    }
    return [name for name in warned.names if name in every]


def _tail(message: str) -> str:
    """The cause stands at the end of a long chain of errors."""
    return message if len(message) <= 200 else "… " + message[-200:]
