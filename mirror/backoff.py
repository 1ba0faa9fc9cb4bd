"""Who writes against a keeper all the time is answered more and more slowly, up to every 10 min."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_FIRST, _MOST = timedelta(seconds=30), timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Backoff:
    """By the name of what is put back; the times are the caller's."""

    _put: dict[str, tuple[datetime, timedelta]] = field(default_factory=dict)

    def is_due(self, name: str, now: datetime) -> bool:
        """Whether it may be put back now."""
        last, delay = self._put.get(name, (_NEVER, _FIRST))
        return now - last >= delay

    def record(self, name: str, now: datetime) -> None:
        """It was."""
        last, delay = self._put.get(name, (_NEVER, _FIRST))
        again = now - last < 2 * _MOST
        self._put[name] = (now, min(2 * delay, _MOST) if again else _FIRST)
