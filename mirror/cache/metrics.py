"""The cache's metrics in the format of Prometheus (docs/monitoring.md lists them)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mirror.cache.service import CacheService
from mirror.cache.upstream_metrics import METRIC_PREFIX

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNT_INTERVAL = 60.0  # seconds; counting the stored files walks through the volume


class CacheMetrics(Collector):
    """Collects the state of a cache when it is asked for."""

    def __init__(self, service: CacheService) -> None:
        self._service = service
        self._contents: dict[str, int] = {}
        self._counted_at = float("-inf")
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self.refusals = Counter(
            f"{METRIC_PREFIX}_policy_refusals",
            "Requests refused by a rule of the policy.",
            ["rule"],
            registry=self._registry,
        )
        upstream_metrics = service.base.client.metrics  # all upstreams share them
        for metric in (upstream_metrics.durations, upstream_metrics.errors):
            self._registry.register(metric)

    def render(self) -> bytes:
        """Return all metrics as text. Reads nginx's log, and at times walks the volume."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._collect_requests()
        yield from self._collect_upstreams()
        yield from self._collect_volume()

    def _collect_requests(self) -> Iterator[Metric]:
        log = self._service.request_log
        log.read()
        requests = CounterMetricFamily(
            f"{METRIC_PREFIX}_requests",
            "Requests of clients; private: to devpi. Without the mirror's own and probes.",
            labels=["kind", "status"],
        )
        for (kind, status), number in sorted(log.requests.items()):
            requests.add_metric([kind, status], number)
        hits = CounterMetricFamily(
            f"{METRIC_PREFIX}_hits", "Requests answered from the volume at once.", labels=["kind"]
        )
        sent = CounterMetricFamily(
            f"{METRIC_PREFIX}_sent_bytes", "Bytes of answers to clients.", labels=["kind"]
        )
        for kind in ("page", "file"):
            hits.add_metric([kind], log.hits[kind])
        for kind, number in sorted(log.sent_bytes.items()):
            sent.add_metric([kind], number)
        yield from (requests, hits, sent)

    def _collect_upstreams(self) -> Iterator[Metric]:
        counts = self._service.count_fetched()
        fetched = CounterMetricFamily(
            f"{METRIC_PREFIX}_fetched", "Pages and files fetched from upstreams.", labels=["kind"]
        )
        fetched.add_metric(["page"], counts["pages"])
        fetched.add_metric(["file"], counts["files"])
        yield fetched
        yield CounterMetricFamily(
            f"{METRIC_PREFIX}_fetched_bytes",
            "Bytes of the files fetched from upstreams.",
            value=counts["bytes"],
        )
        up = GaugeMetricFamily(
            f"{METRIC_PREFIX}_upstream_up",
            "1 if the last page request to an upstream was answered.",
            labels=["upstream"],
        )
        for upstream in self._service.upstreams:
            up.add_metric([upstream.name], 0.0 if upstream.client.error else 1.0)
        yield up

    def _collect_volume(self) -> Iterator[Metric]:
        service = self._service
        volume = service.base.store.measure_volume()
        now = time.monotonic()
        if now - self._counted_at > _COUNT_INTERVAL:
            self._contents, self._counted_at = service.count_contents(), now
        gauges = (
            ("volume_free_bytes", "Free bytes on the volume.", volume.free),
            ("volume_size_bytes", "Size of the volume.", volume.size),
            ("volume_full", "1 if the last write found no space.", float(volume.full)),
            ("stored_pages", "Project pages on the volume.", self._contents["pages"]),
            ("stored_files", "Cached files on the volume.", self._contents["files"]),
            ("stored_bytes", "Bytes of the cached files.", self._contents["bytes"]),
            ("lost_uploads", "Uploads that are damaged or missing.", self._count_lost()),
        )
        for name, documentation, value in gauges:
            yield GaugeMetricFamily(f"{METRIC_PREFIX}_{name}", documentation, value=value)
        yield CounterMetricFamily(
            f"{METRIC_PREFIX}_repaired_files",
            "Damaged files found by the verification.",
            value=service.scrubber.repaired,
        )

    def _count_lost(self) -> int:
        return len(self._service.scrubber.lost_uploads())
