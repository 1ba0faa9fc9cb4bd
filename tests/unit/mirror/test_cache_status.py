"""mirror.cache_status reads the status of the cache and nginx's counters."""

from __future__ import annotations

from typing import Any

import pytest

from mirror.cache_status import CacheStatus, parse_cache_status

STUB_STATUS = (
    "Active connections: 3 \nserver accepts handled requests\n 90 90 1000 \n"
    "Reading: 0 Writing: 1 Waiting: 2 \n"
)


def parse(*, probe_requests: float = 0.0, **overrides: Any) -> CacheStatus:
    document: dict[str, Any] = {
        "upstream": {"url": "https://index.example/simple/", "state": "ok", "since": None},
        "pages": 146,
        "files": 150,
        "bytes": 158_000_000,
        "asked": {"pages": 60, "files": 40},
        "fetched": {"pages": 30, "files": 20, "bytes": 1},
        "volume": {"free": 10**10, "size": 2 * 10**10},
    }
    return parse_cache_status(document | overrides, STUB_STATUS, probe_requests=probe_requests)


def test_counts_requests_and_hits() -> None:
    status = parse()
    assert (status.requests, status.asked, status.fetched) == (1000, 100, 50)
    assert status.hit_rate == pytest.approx(0.9)
    assert not status.is_full
    assert parse(probe_requests=500.4).hit_rate == pytest.approx(1 - 100 / 499, abs=0.001)
    assert parse(probe_requests=5000).hit_rate is None, "there were no requests but the probes'"


def test_looking_does_not_change_the_hit_rate() -> None:
    status = parse(asked={"pages": 60, "files": 40, "status": 25})
    assert status.requests == 1000 - 25 * 4


def test_reports_an_upstream_that_does_not_answer() -> None:
    status = parse(upstream={"url": "u", "state": "away", "since": "20:00", "error": "refused"})
    assert (status.upstream_away, status.upstream_since) == ("refused", "20:00")
    assert parse().upstream_away == ""


@pytest.mark.parametrize(
    ("free", "size", "is_full"),
    [(10**8, 2 * 10**10, True), (10**8, 10**9, False), (10**9, 10**12, False), (0, 10**9, True)],
)
def test_a_volume_with_little_space_is_full(free: int, size: int, is_full: bool) -> None:
    assert parse(volume={"free": free, "size": size}).is_full is is_full


def test_a_volume_on_which_a_file_did_not_fit_is_full() -> None:
    """Small files would still fit; the cache itself reports that a larger one did not."""
    volume = {"free": 3 * 10**8, "size": 5 * 10**9}
    assert not parse(volume=volume).is_full
    assert parse(volume={**volume, "full": True}).is_full


def test_reports_the_last_scrub() -> None:
    status = parse(scrub={"ended": 0.0, "mended": 2, "lost": ["lib-1.whl"]})
    assert (status.scrubbed, status.repaired) == ("1970-01-01 00:00:00+00:00", 2)
    assert status.lost == ("lib-1.whl",)
    assert "lib-1.whl" in status.lost_uploads_message
    assert parse().lost == (), "older images have no scrubber"
