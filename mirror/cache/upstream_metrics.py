"""Durations and failures of requests to upstreams, in the form of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from mirror.cache.errors import RateLimitedError, UnavailableError, UpstreamUnavailableError

METRIC_PREFIX = "pypi_mirror"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 40.0)


class UpstreamMetrics:
    """Durations and failures of the requests to all upstreams of one cache."""

    def __init__(self) -> None:
        self.durations = Histogram(
            f"{METRIC_PREFIX}_upstream_request_seconds",
            "Time until an upstream began to answer, or failed; a page until its end.",
            ["upstream", "kind"],
            buckets=_SECONDS,
            registry=None,
        )
        self.errors = Counter(
            f"{METRIC_PREFIX}_upstream_errors",
            "Requests that an upstream did not answer with a page or a file; 404 is an answer.",
            ["upstream", "kind", "reason"],
            registry=None,
        )

    @contextmanager
    def measure(self, upstream: str, kind: str) -> Iterator[None]:
        """Measure a request for the length of a block."""
        start = time.monotonic()
        try:
            yield
        except UnavailableError as error:
            self.errors.labels(upstream, kind, _name_reason(error)).inc()
            raise
        finally:
            self.durations.labels(upstream, kind).observe(time.monotonic() - start)


def _name_reason(error: UnavailableError) -> str:
    if isinstance(error, UpstreamUnavailableError):
        return "unavailable"
    return "rate limited" if isinstance(error, RateLimitedError) else "refused"
