"""The mirror's statistics: cached files, requests, the upstream and the space on the volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mirror.core.codec import json_key

# the volume counts as full when less than both is free: large wheels no longer fit
_MIN_FREE_SHARE = 0.03
_MIN_FREE_BYTES = 512 * 1024**2
# that `mirror status` itself sends: /+api, /+status, /+mirror/status and /+mirror/requests
REQUESTS_OF_STATUS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamStatus:
    """An upstream: its URL, why it does not answer (empty if it does), and since when."""

    name: str
    url: str
    away: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """Counters since the mirror started. Sizes are in bytes.

    ``requests`` counts the requests for public pages and files, without the mirror's own;
    ``asked`` those that it had to pass on because it could not answer them from the volume,
    ``fetched`` those sent to the upstream.
    """

    pages: int
    files: int
    size: int
    requests: int
    asked: int
    fetched: int
    upstream: str
    upstream_origin: str  # what precedes the paths of its files; empty if not known
    upstream_away: str  # why the upstream does not answer; empty if it answers
    upstream_since: str
    policy: tuple[str, ...] = ()  # its rules
    upstreams: tuple[UpstreamStatus, ...] = ()  # in the order of asking; () from older images
    free: int
    volume: int
    refused: bool  # a file did not fit, and would not fit now
    scrubbed: str  # when the last scrub of all stored files ended; empty if none has
    repaired: int = field(metadata=json_key("mended"))  # files, since the start
    lost: tuple[str, ...]  # uploads that are damaged or missing, and not served

    @property
    def hit_rate(self) -> float | None:
        """The share of requests answered from the volume, 0 to 1; None if there were none."""
        if self.requests <= 0:
            return None
        return max(0.0, 1.0 - min(self.asked, self.requests) / self.requests)

    @property
    def lost_uploads_message(self) -> str:
        """Which uploads are not served, and how to restore them."""
        return (
            f"uploads that are damaged or missing, and not served: {', '.join(self.lost)}. "
            "Run `mirror add` for each, or restore a backup"
        )

    @property
    def is_full(self) -> bool:
        """Whether the volume has no space for more files."""
        is_scarce = self.free < _MIN_FREE_BYTES and self.free < self.volume * _MIN_FREE_SHARE
        return self.refused or is_scarce


def parse_cache_status(
    status: Mapping[str, Any], stub_status: str, *, probe_requests: float = 0.0
) -> CacheStatus:
    """Read /+mirror/status and, for images that count no requests, stub_status.

    ``probe_requests`` are those of Kubernetes' probes, which stub_status counts, too.
    """
    scrub = status.get("scrub") or {}  # images before the scrubber have none
    upstream, volume = status["upstream"], status["volume"]
    asked, fetched = status["asked"], status["fetched"]
    served = status.get("served")  # images before the request log have none
    if served is None:
        own_requests = int(asked.get("status", 0)) * REQUESTS_OF_STATUS
        requests = max(int(_count_requests(stub_status) - probe_requests - own_requests), 0)
        passed_on = int(asked["pages"]) + int(asked["files"])
    else:
        requests = int(served["pages"]) + int(served["files"])
        passed_on = requests - int(served["hits"])
    return CacheStatus(
        pages=int(status["pages"]),
        files=int(status["files"]),
        size=int(status["bytes"]),
        requests=requests,
        asked=passed_on,
        fetched=int(fetched["pages"]) + int(fetched["files"]),
        upstream=str(upstream["url"]),
        upstream_origin=str(upstream.get("origin") or ""),
        upstream_away=str(upstream.get("error") or "") if upstream["state"] != "ok" else "",
        upstream_since=_format_time(upstream.get("since")),
        policy=tuple(map(str, status.get("policy", ()))),
        upstreams=tuple(map(_parse_upstream, status.get("upstreams", ()))),
        free=int(volume["free"]),
        volume=int(volume["size"]),
        refused=bool(volume.get("full")),
        scrubbed=_format_time(scrub.get("ended")),
        repaired=int(scrub.get("mended") or 0),
        lost=tuple(str(name) for name in scrub.get("lost") or ()),
    )


def _parse_upstream(upstream: Mapping[str, Any]) -> UpstreamStatus:
    return UpstreamStatus(
        name=str(upstream["name"]),
        url=str(upstream["url"]),
        away=str(upstream.get("error") or "") if upstream["state"] != "ok" else "",
        since=_format_time(upstream.get("since")),
    )


def _count_requests(stub_status: str) -> int:
    """Return the number of requests in "… server accepts handled requests / N N N / …"."""
    words = stub_status.split()
    return int(words[words.index("requests") + 3]) if "requests" in words else 0


def _format_time(seconds: object) -> str:
    """Format seconds since the epoch as UTC; return other values as text."""
    if isinstance(seconds, int | float):
        return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
    return str(seconds or "")
