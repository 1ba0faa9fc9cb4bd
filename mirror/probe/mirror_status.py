"""The mirror asked from a pod: by its address, as workloads do, without any proxy."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from mirror.probe.model import MirrorView
from mirror.probe.network import try_connect

SECONDS = 4.0
_STATUS = "/+mirror/status"
_MOST = 1 << 20  # bytes of an answer that are read


def check_mirror(address: str, port: int) -> MirrorView:
    """Whether it answers, and what it tells of its volume and its upstream."""
    tried = try_connect(address, port)
    if tried.outcome != "connects":
        return MirrorView(connection=tried, text=tried.text)
    line = HTTPConnection(address, port, timeout=SECONDS)
    try:
        line.request("GET", _STATUS, headers={"Accept": "application/json"})
        answer = line.getresponse()
        told = _told(answer.read(_MOST))
    except (OSError, HTTPException) as broken:
        return MirrorView(connection=tried, text=str(broken) or type(broken).__name__)
    finally:
        line.close()
    volume, upstream = told.get("volume"), told.get("upstream")
    volume = volume if isinstance(volume, dict) else {}
    state = upstream.get("state") if isinstance(upstream, dict) else None
    return MirrorView(
        connection=tried,
        http=answer.status,
        text=answer.reason,
        volume_free=_number(volume.get("free")),
        volume_size=_number(volume.get("size")),
        volume_full=volume.get("full") is True,
        upstream=state if isinstance(state, str) else None,
    )


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
