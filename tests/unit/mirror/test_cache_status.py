"""What the front tells, as it tells it."""

from __future__ import annotations

from typing import Any

import pytest

from mirror.cache_status import parse_cache_status

STUB = (
    "Active connections: 3 \nserver accepts handled requests\n 90 90 1000 \n"
    "Reading: 0 Writing: 1 Waiting: 2 \n"
)


def told(**more: Any) -> dict[str, Any]:
    return {
        "upstream": {"url": "https://index.example/simple/", "state": "ok", "since": None},
        "pages": 146,
        "files": 150,
        "bytes": 158_000_000,
        "asked": {"pages": 60, "files": 40},
        "fetched": {"pages": 30, "files": 20, "bytes": 1},
        "volume": {"free": 10**10, "size": 2 * 10**10},
    } | more


def test_hits() -> None:
    seen = parse_cache_status(told(), STUB)
    assert (seen.requests, seen.asked, seen.fetched) == (1000, 100, 50)
    assert seen.hit_rate == pytest.approx(0.9)
    assert not seen.is_full
    assert parse_cache_status(told(), STUB, probe_requests=500.4).hit_rate == pytest.approx(
        1 - 100 / 499, abs=0.001
    )
    assert parse_cache_status(told(), STUB, probe_requests=5000).hit_rate is None, (
        "nobody has asked yet"
    )


def test_the_upstream() -> None:
    away = {"url": "u", "state": "away", "since": "20:00", "error": "refused"}
    seen = parse_cache_status(told(upstream=away), STUB)
    assert (seen.upstream_away, seen.upstream_since) == ("refused", "20:00")
    assert parse_cache_status(told(), STUB).upstream_away == ""


@pytest.mark.parametrize(
    ("free", "size", "full"),
    [(10**8, 2 * 10**10, True), (10**8, 10**9, False), (10**9, 10**12, False), (0, 10**9, True)],
)
def test_full(free: int, size: int, full: bool) -> None:
    assert parse_cache_status(told(volume={"free": free, "size": size}), STUB).is_full is full


def test_a_volume_with_room_for_small_files_alone_is_full() -> None:
    """It says so itself: something larger found no room."""
    volume = {"free": 3 * 10**8, "size": 5 * 10**9}
    assert not parse_cache_status(told(volume=volume), STUB).is_full
    assert parse_cache_status(told(volume={**volume, "full": True}), STUB).is_full


def test_what_the_rounds_found() -> None:
    seen = parse_cache_status(told(scrub={"ended": 0.0, "mended": 2, "lost": ["lib-1.whl"]}), STUB)
    assert (seen.scrubbed, seen.repaired) == ("1970-01-01 00:00:00+00:00", 2)
    assert seen.lost == ("lib-1.whl",)
    assert parse_cache_status(told(), STUB).lost == (), "an older mirror does not tell"
