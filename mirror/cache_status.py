"""What a mirror tells of itself: what is kept, how often it was asked, how its upstream is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_FULL = 0.03  # share of the volume, and
_SCARCE = 512 * 1024**2  # bytes free, below both of which large wheels find no place


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """Counted since the mirror started; sizes in bytes.

    ``requests`` are all that the front answered, ``asked`` those that it could not answer from
    the volume by itself, ``fetched`` those for which the upstream was asked.
    """

    pages: int
    files: int
    size: int
    requests: int
    asked: int
    fetched: int
    upstream: str
    upstream_away: str  # why, or empty
    upstream_since: str
    free: int
    volume: int
    refused: bool  # something found no room, and would find none now
    scrubbed: str  # when all that is kept was last found or made right, or empty
    mended: int
    lost: tuple[str, ...]  # uploads that are no longer served: damaged or missing

    @property
    def hit_rate(self) -> float | None:
        """The share of requests that the volume answered, 0 to 1; None before there were any."""
        if self.requests <= 0:
            return None
        return max(0.0, 1.0 - min(self.asked, self.requests) / self.requests)

    @property
    def describe_lost_uploads(self) -> str:
        """Which uploads are not served, and what brings them back."""
        return (
            f"uploads that are damaged or missing, and not served: {', '.join(self.lost)}. "
            "`mirror add` them from where they were built, or restore a backup"
        )

    @property
    def is_full(self) -> bool:
        """Whether the volume has no room for what comes next."""
        scarce = self.free < _SCARCE and self.free < self.volume * _FULL
        return self.refused or scarce


def parse_cache_status(
    status: Mapping[str, Any], requests: str, *, probe_requests: float = 0.0
) -> CacheStatus:
    """From /+mirror/status and nginx's stub_status; ``probes`` are requests that nobody made."""
    counted = requests.split()
    # Active connections: N / server accepts handled requests / N N N / Reading: …
    total = int(counted[counted.index("requests") + 3]) if "requests" in counted else 0
    scrub = status.get("scrub") or {}  # an older image has none
    upstream, asked, fetched = status["upstream"], status["asked"], status["fetched"]
    return CacheStatus(
        pages=int(status["pages"]),
        files=int(status["files"]),
        size=int(status["bytes"]),
        requests=max(int(total - probe_requests), 0),
        asked=int(asked["pages"]) + int(asked["files"]),
        fetched=int(fetched["pages"]) + int(fetched["files"]),
        upstream=str(upstream["url"]),
        upstream_away=str(upstream.get("error") or "") if upstream["state"] != "ok" else "",
        upstream_since=_moment(upstream.get("since")),
        free=int(status["volume"]["free"]),
        volume=int(status["volume"]["size"]),
        refused=bool(status["volume"].get("full")),
        scrubbed=_moment(scrub.get("ended")),
        mended=int(scrub.get("mended") or 0),
        lost=tuple(str(name) for name in scrub.get("lost") or ()),
    )


def _moment(told: object) -> str:
    """Seconds since the epoch, as people read them."""
    if isinstance(told, int | float):
        return datetime.fromtimestamp(told, UTC).isoformat(" ", "seconds")
    return str(told or "")
