"""Requests the mirror's status from a pod, at the address that workloads use, without a proxy."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from mirror.core.wait import Deadline
from mirror.probe.model import MirrorView
from mirror.probe.network import try_connect
from mirror.settings import OWN_USER_AGENT

SECONDS = 4.0  # timeout of the request
_PATH = "/+mirror/status"
_MAX_SIZE = 1 << 20  # bytes of the response that are read


def check_mirror(address: str, port: int, deadline: Deadline | None = None) -> MirrorView:
    """Return whether the mirror responds, and what it reports of its volume and its upstream."""
    attempt = try_connect(address, port, deadline)
    if attempt.outcome != "connects":
        return MirrorView(connection=attempt, text=attempt.text)
    seconds = min(SECONDS, deadline.remaining()) if deadline else SECONDS
    connection = HTTPConnection(address, port, timeout=max(seconds, 0.1))
    try:
        headers = {"Accept": "application/json", "User-Agent": OWN_USER_AGENT}
        connection.request("GET", _PATH, headers=headers)
        response = connection.getresponse()
        body = response.read(_MAX_SIZE)
    except (OSError, HTTPException) as error:
        return MirrorView(connection=attempt, text=str(error) or type(error).__name__)
    finally:
        connection.close()
    try:
        status = _as_object(json.loads(body))
    except ValueError:
        status = {}
    volume = _as_object(status.get("volume"))
    state = _as_object(status.get("upstream")).get("state")
    return MirrorView(
        connection=attempt,
        http=response.status,
        text=response.reason,
        volume_free=_read_int(volume.get("free")),
        volume_size=_read_int(volume.get("size")),
        volume_full=volume.get("full") is True,
        upstream=state if isinstance(state, str) else None,
    )


def _as_object(value: Any) -> dict[str, Any]:
    """Return a JSON object; {} for anything else, as older mirrors and other servers send it."""
    return value if isinstance(value, dict) else {}


def _read_int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
