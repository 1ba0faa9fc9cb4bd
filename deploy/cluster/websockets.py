"""The rights that a websocket to a pod needs, and why the API server refused one."""

from __future__ import annotations

import json

from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.failures import get_first_line

# a websocket begins as a GET, which up to Kubernetes 1.34 needs `get`; since 1.35 it needs both
_VERBS = "get create"
_SEPARATOR = " -+-+- "  # of status, headers and body in the client's text


def websocket_permissions(subresource: str, namespace: str) -> tuple[Permission, ...]:
    """Return the permissions for pods/exec or pods/portforward in a namespace."""
    return list_permissions(_VERBS, f"pods/{subresource}", namespace)


def describe_refusal(error: BaseException) -> str:
    """Return the reason of a refused websocket; the client has it at the end of its own text."""
    text = str(getattr(error, "reason", None) or "").strip()
    parts = text.split(_SEPARATOR)
    try:
        return str(json.loads(parts[-1])["message"])
    except (KeyError, TypeError, ValueError):
        return parts[0][:300] or get_first_line(error)
