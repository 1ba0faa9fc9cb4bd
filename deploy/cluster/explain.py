"""Why a pod is not where it should be: its states, its events, its last words."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import get_container_statuses
from mirror.core.errors import ClusterError

_EVENTS = 6
_LINES = 10


def explain_pod(cluster: Cluster, namespace: str, name: str) -> str:
    """Several lines for the `why` of an error. Never raises: it must not hide the cause itself."""
    try:
        pod = cluster.get("Pod", name, namespace)
        lines = list(_states(pod)) if pod else [f"pod {name}: does not exist"]
        lines += list(_events(cluster, namespace, "Pod", name))
        for container in _troubled(pod or {}):
            log = cluster.tail_log(namespace, name, container, lines=_LINES).strip()
            if log:
                lines.append(f"last lines of {container}:")
                lines += [f"  {line}" for line in log.splitlines()[-_LINES:]]
    except ClusterError as broken:
        return f"(no explanation to be had: {broken})"
    return "\n".join(lines)


def explain_claim(cluster: Cluster, namespace: str, name: str) -> str:
    """The same for a PersistentVolumeClaim."""
    try:
        claim = cluster.get("PersistentVolumeClaim", name, namespace)
        if claim is None:
            return f"volume claim {name}: does not exist"
        phase = claim.get("status", {}).get("phase", "Unknown")
        if phase == "Bound":
            return ""
        lines = [f"volume claim {name}: {phase}"]
        return "\n".join(lines + list(_events(cluster, namespace, "PersistentVolumeClaim", name)))
    except ClusterError as broken:
        return f"(no explanation to be had: {broken})"


def _states(pod: Object) -> Iterator[str]:
    meta, status = pod["metadata"], pod.get("status", {})
    node = pod.get("spec", {}).get("nodeName")
    yield f"pod {meta['name']}: {status.get('phase', 'Unknown')}" + (f" on {node}" if node else "")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"not scheduled: {condition.get('message', condition.get('reason', ''))}"
    for one in get_container_statuses(pod):
        for state, detail in one.get("state", {}).items():
            if state == "running" and one.get("ready"):
                continue
            told = " ".join(
                str(detail[key]) for key in ("reason", "exitCode", "message") if key in detail
            )
            yield f"container {one['name']}: {state} {told}".rstrip()


def _events(cluster: Cluster, namespace: str, kind: str, name: str) -> Iterator[str]:
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    events = cluster.list("Event", namespace, fields=fields)
    events.sort(key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
    warnings = [event for event in events if event.get("type") != "Normal"]
    for event in warnings[-_EVENTS:]:
        yield f"event {event.get('reason')}: {event.get('message', '').strip()}"


def _troubled(pod: Object) -> Iterator[str]:
    for one in get_container_statuses(pod):
        ended = one.get("state", {}).get("terminated", {}).get("exitCode", 0) != 0
        if ended or one.get("restartCount") or (not one.get("ready") and "running" in one["state"]):
            yield one["name"]
