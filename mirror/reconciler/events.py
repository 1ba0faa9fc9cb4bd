"""What the keeper tells, as Events on the objects that it keeps. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mirror.reconciler.api import FIELD_MANAGER
from mirror.reconciler.entry import ReconciledObject

REVERTED, LOST = "FixReverted", "FixLost"
_OURS = {"pypi-mirror", FIELD_MANAGER}
_LONGEST = 1000  # characters; an Event's message has 1024 at most


def build_event(
    page: ReconciledObject, found: Any, reason: str, what: str, now: datetime
) -> tuple[str, Any]:
    """The API's path and an Event on the object, or where it is gone on what is known of it."""
    meta = (found or {}).get("metadata", {})
    where = page.path.split("/")
    # the API server wants Events on objects that are in no namespace in `default`
    space = where[where.index("namespaces") + 1] if "namespaces" in where else "default"
    about: dict[str, Any] = {"kind": page.kind, "name": where[-1]}
    about["apiVersion"] = "/".join(where[2:4]) if where[1] == "apis" else where[2]
    about |= {"namespace": space} if "namespaces" in where else {}
    about |= {key: meta[key] for key in ("uid", "resourceVersion") if key in meta}
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    key = f", key {page.key}" if page.key else ""
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{FIELD_MANAGER}-", "namespace": space},
        "involvedObject": about,
        "type": "Warning",
        "reason": reason,
        "message": f"fix {', '.join(page.fixes)}{key}: {what}"[:_LONGEST],
        "source": {"component": FIELD_MANAGER},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
    return f"/api/v1/namespaces/{space}/events", body


def describe_last_writer(found: Any) -> str:
    """Who wrote it last, as the API server knows it, in words; empty where it was nobody else."""
    fields = found["metadata"].get("managedFields", ())
    others = [one for one in fields if one.get("manager") not in _OURS and "subresource" not in one]
    last = max(others, key=lambda one: str(one.get("time", "")), default=None)
    return f" by {last['manager']} at {last.get('time', '?')}" if last else ""
