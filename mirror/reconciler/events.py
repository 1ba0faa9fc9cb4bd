"""Builds the reconciler's Events, which are about the objects it reconciles. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mirror.reconciler.api import FIELD_MANAGER
from mirror.reconciler.entry import ReconcilerEntry

_OUR_MANAGERS = {"pypi-mirror", FIELD_MANAGER}
_MAX_LENGTH = 1000  # characters; an Event's message has at most 1024


def build_event(
    entry: ReconcilerEntry, obj: Any, reason: str, description: str, now: datetime
) -> tuple[str, Any]:
    """Return an Event about ``obj`` (None if it is gone) and the API path to create it at."""
    metadata = (obj or {}).get("metadata", {})
    path = entry.path.split("/")
    # the API server requires Events about cluster-scoped objects to be in `default`
    namespace = path[path.index("namespaces") + 1] if "namespaces" in path else "default"
    involved: dict[str, Any] = {"kind": entry.kind, "name": path[-1]}
    involved["apiVersion"] = "/".join(path[2:4]) if path[1] == "apis" else path[2]
    involved |= {"namespace": namespace} if "namespaces" in path else {}
    involved |= {key: metadata[key] for key in ("uid", "resourceVersion") if key in metadata}
    timestamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    key = f", key {entry.key}" if entry.key else ""
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{FIELD_MANAGER}-", "namespace": namespace},
        "involvedObject": involved,
        "type": "Warning",
        "reason": reason,
        "message": f"fix {', '.join(entry.fixes)}{key}: {description}"[:_MAX_LENGTH],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": timestamp,
        "lastTimestamp": timestamp,
        "count": 1,
    }
    return f"/api/v1/namespaces/{namespace}/events", event


def describe_last_writer(obj: Any) -> str:
    """Return " by MANAGER at TIME" for the last write, or "" if nobody else wrote the object."""
    fields = obj["metadata"].get("managedFields", ())
    others = [
        field
        for field in fields
        if field.get("manager") not in _OUR_MANAGERS and "subresource" not in field
    ]
    last = max(others, key=lambda field: str(field.get("time", "")), default=None)
    return f" by {last['manager']} at {last.get('time', '?')}" if last else ""
