"""Whether pods start: calico-node on their node, and the events about their network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from deploy.evidence.events import WarningEvents
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, check, error
from deploy.findings.phrases import join_names, on_nodes

_MAX_AGE = timedelta(minutes=15)


@check("cni.pods", "Calico is Ready on every node it runs on", Need.CALICO)
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


@check("cni.sandbox", "no pod waits for its network", Need.WORKLOADS, Need.WARNING_EVENTS)
def check_sandbox(evidence: Evidence) -> Iterator[Finding]:
    for events in _iter_recent(evidence, "FailedCreatePodSandBox"):
        pending = _list_pending(evidence, events)
        if not pending:
            continue  # they have started in the meantime
        has_no_pool = any(
            text in events.message for text in ("qualified ippool", "no configured Calico pools")
        )
        is_not_allowed = "sysctl" in events.message and "not allowed" in events.message
        if has_no_pool:
            why = "The CNI asks for an address of a family without an enabled pool: see ippools."
        elif is_not_allowed:
            why = (
                "/etc/cni/tuning/allowlist.conf on the node does not allow the key: add it there, "
                "or run `mirror rollback pod-sysctl`."
            )
        else:
            why = "The kubelet keeps trying: the pods start as soon as the cause is gone."
        describe = Remedy(
            "Read the whole message.",
            "workload",
            f"kubectl -n {events.namespace} describe pod {pending[0]}",
        )
        yield error(
            f"pods in {events.namespace} do not start, their network cannot be made: "
            f"{join_names(pending, 3)}",
            *((describe, remedies.IPPOOL) if has_no_pool else (describe,)),
            nodes=events.nodes,
            evidence=(_shorten(events.message),),
            why=why,
        )


def _iter_recent(evidence: Evidence, reason: str) -> Iterator[WarningEvents]:
    now = datetime.fromisoformat(evidence.taken)
    for events in require_seen(evidence.warning_events):
        if events.reason != reason:
            continue
        if events.last and now - datetime.fromisoformat(events.last) > _MAX_AGE:
            continue
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
