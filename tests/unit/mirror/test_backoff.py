"""Delays between restorations of one target."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mirror.backoff import Backoff

START = datetime(2026, 1, 1, tzinfo=UTC)


def seconds_until_due(backoff: Backoff, now: datetime) -> int:
    """Return the delay after a restoration at ``now``."""
    return next(
        second for second in range(3600) if backoff.is_due("dns", now + timedelta(seconds=second))
    )


def test_delays_double_up_to_ten_minutes() -> None:
    backoff, now, delays = Backoff(), START, []
    assert backoff.is_due("dns", now)
    for _ in range(7):
        backoff.record("dns", now)
        delays.append(seconds_until_due(backoff, now))
        now += timedelta(seconds=delays[-1])
    assert delays == [30, 60, 120, 240, 480, 600, 600]
    assert backoff.is_due("ippool", now), "each target has its own delay"


def test_a_long_pause_resets_the_delay() -> None:
    backoff = Backoff()
    backoff.record("dns", START)
    backoff.record("dns", START + timedelta(seconds=30))
    later = START + timedelta(minutes=21)
    backoff.record("dns", later)
    assert seconds_until_due(backoff, later) == 30
