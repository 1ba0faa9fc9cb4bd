"""Warning events that tell why pods do not start."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.cluster.client import Cluster
from deploy.evidence.masking import mask_text


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvents:
    """Warning events of one reason and message, together."""

    kind: str
    namespace: str
    names: tuple[str, ...]
    reason: str
    message: str
    nodes: tuple[str, ...] = ()
    last: str = ""  # UTC, ISO 8601


_REASONS = {"FailedCreatePodSandBox", "DNSConfigForming", "FailedMount", "FailedAttachVolume"}


def read_warning_events(cluster: Cluster) -> tuple[WarningEvents, ...]:
    """Warnings that tell why pods do not start or have no proper DNS; same words together."""
    groups: dict[tuple[str, str, str, str], dict[str, str]] = {}
    last: dict[tuple[str, str, str, str], str] = {}
    for event in cluster.list("Event", fields="type=Warning"):
        about = event.get("involvedObject", {})
        if event.get("reason") not in _REASONS:
            continue
        message = _plain(event.get("message", ""))
        key = (about.get("kind", ""), about.get("namespace", ""), event["reason"], message)
        node = event.get("source", {}).get("host") or event.get("reportingInstance", "")
        groups.setdefault(key, {})[about.get("name", "")] = node
        at = event.get("lastTimestamp") or event.get("eventTime") or ""
        last[key] = max(last.get(key, ""), at)
    return tuple(
        WarningEvents(
            kind=kind,
            namespace=space,
            names=tuple(sorted(names)),
            reason=reason,
            message=message,
            nodes=tuple(sorted({node for node in names.values() if node})),
            last=last[kind, space, reason, message],
        )
        for (kind, space, reason, message), names in sorted(groups.items())
    )


def _plain(message: str) -> str:
    """A message without what differs from pod to pod: long ids."""
    return mask_text(re.sub(r"[0-9a-f]{32,}", "…", message.strip()))[:600]
