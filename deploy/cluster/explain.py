"""Explain why a pod or a volume claim is not ready: states, events and the end of the logs."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import get_condition, get_container_statuses
from mirror.core.errors import ClusterError

_MAX_EVENTS = 6
_MAX_LOG_LINES = 10


def explain_pod(cluster: Cluster, namespace: str, name: str) -> str:
    """Return several lines for the `why` of an error. Never raises: that would hide the error."""
    try:
        pod = cluster.get("Pod", name, namespace)
        lines = list(_describe_states(pod)) if pod else [f"pod {name}: does not exist"]
        lines += list(list_warnings(cluster, namespace, "Pod", name))
        for container in _list_failing_containers(pod or {}):
            log = cluster.tail_log(namespace, name, container, lines=_MAX_LOG_LINES).strip()
            if log:
                lines.append(f"last lines of {container}:")
                lines += [f"  {line}" for line in log.splitlines()[-_MAX_LOG_LINES:]]
    except ClusterError as error:
        return f"(no explanation available: {error})"
    return "\n".join(lines)


def explain_claim(cluster: Cluster, namespace: str, name: str) -> str:
    """Explain, in several lines, why a PersistentVolumeClaim is not bound; empty if it is."""
    try:
        claim = cluster.get("PersistentVolumeClaim", name, namespace)
        if claim is None:
            return f"volume claim {name}: does not exist"
        phase = claim.get("status", {}).get("phase", "Unknown")
        if phase == "Bound":
            return ""
        warnings = list_warnings(cluster, namespace, "PersistentVolumeClaim", name)
        return "\n".join([f"volume claim {name}: {phase}", *warnings])
    except ClusterError as error:
        return f"(no explanation available: {error})"


def _describe_states(pod: Object) -> Iterator[str]:
    name, phase = pod["metadata"]["name"], pod.get("status", {}).get("phase", "Unknown")
    node = pod.get("spec", {}).get("nodeName")
    yield f"pod {name}: {phase}" + (f" on {node}" if node else "")
    scheduled = get_condition(pod, "PodScheduled")
    if scheduled and scheduled["status"] == "False":
        yield f"not scheduled: {scheduled.get('message', scheduled.get('reason', ''))}"
    for status in get_container_statuses(pod):
        for state, details in status.get("state", {}).items():
            if state == "running" and status.get("ready"):
                continue
            keys = ("reason", "exitCode", "message")
            text = " ".join(str(details[key]) for key in keys if key in details)
            yield f"container {status['name']}: {state} {text}".rstrip()


def list_warnings(cluster: Cluster, namespace: str, kind: str, name: str) -> Iterator[str]:
    """Yield the last warning events about an object."""
    fields = f"involvedObject.kind={kind},involvedObject.name={name}"
    events = cluster.list("Event", namespace, fields=fields)
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    warnings = [event for event in events if event.get("type") != "Normal"]
    for event in warnings[-_MAX_EVENTS:]:
        yield f"event {event.get('reason')}: {event.get('message', '').strip()}"


def _list_failing_containers(pod: Object) -> Iterator[str]:
    for status in get_container_statuses(pod):
        state = status.get("state", {})
        has_failed = state.get("terminated", {}).get("exitCode", 0) != 0
        is_unready = not status.get("ready") and "running" in state
        if has_failed or status.get("restartCount") or is_unready:
            yield status["name"]
