"""Delays repeated restorations: from 30 s up to 10 minutes if something keeps reverting a fix."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_INITIAL_DELAY, _MAX_DELAY = timedelta(seconds=30), timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Backoff:
    """One delay for each name. The caller passes the current time."""

    _restored: dict[str, tuple[datetime, timedelta]] = field(default_factory=dict)

    def is_due(self, name: str, now: datetime) -> bool:
        """Whether the delay since the last restoration is over."""
        last, delay = self._restored.get(name, (_NEVER, _INITIAL_DELAY))
        return now - last >= delay

    def record(self, name: str, now: datetime) -> None:
        """Record a restoration: double the delay, or reset it if the last one was long ago."""
        last, delay = self._restored.get(name, (_NEVER, _INITIAL_DELAY))
        recent = now - last < 2 * _MAX_DELAY
        self._restored[name] = (now, min(2 * delay, _MAX_DELAY) if recent else _INITIAL_DELAY)
