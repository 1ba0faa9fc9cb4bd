"""Warning events that say why pods do not start."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.evidence.masking import mask_text

_REASONS = {"FailedCreatePodSandBox", "DNSConfigForming", "FailedMount", "FailedAttachVolume"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvents:
    """Warning events with the same reason and message about objects of one kind."""

    kind: str
    namespace: str
    names: tuple[str, ...]
    reason: str
    message: str
    nodes: tuple[str, ...] = ()
    last: str = ""  # UTC, ISO 8601


def read_warning_events(cluster: Cluster) -> tuple[WarningEvents, ...]:
    """Return warnings about starting pods, grouped by reason and message."""
    groups: dict[tuple[str, str, str, str], dict[str, str]] = {}  # → name of the object → node
    last: dict[tuple[str, str, str, str], str] = {}
    for event in cluster.list("Event", fields="type=Warning"):
        if event.get("reason") not in _REASONS:
            continue
        obj = event.get("involvedObject", {})
        message = _normalize(event.get("message", ""))
        key = (obj.get("kind", ""), obj.get("namespace", ""), event["reason"], message)
        node = event.get("source", {}).get("host") or event.get("reportingInstance", "")
        groups.setdefault(key, {})[obj.get("name", "")] = node
        time = event.get("lastTimestamp") or event.get("eventTime") or ""
        last[key] = max(last.get(key, ""), time)
    return tuple(
        WarningEvents(
            kind=kind,
            namespace=namespace,
            names=tuple(sorted(nodes_by_name)),
            reason=reason,
            message=message,
            nodes=tuple(sorted({node for node in nodes_by_name.values() if node})),
            last=last[kind, namespace, reason, message],
        )
        for (kind, namespace, reason, message), nodes_by_name in sorted(groups.items())
    )


def _normalize(message: str) -> str:
    """Return the message without long ids, which differ from pod to pod."""
    return mask_text(re.sub(r"[0-9a-f]{32,}", "…", message.strip()))[:600]
