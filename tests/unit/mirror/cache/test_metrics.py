"""`/metrics` of a running cache, read with Prometheus' own parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.manifests.model import ClusterSettings
from deploy.manifests.monitoring import render_alerts, render_dashboard
from mirror.cache.request_log import RequestLog
from mirror.cache.scrubber import Scrubber
from mirror.cache_status import parse_cache_status
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream

SETTINGS = ClusterSettings(image="pypi-mirror:1")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "requests.log"


@pytest.fixture
def cache(tmp_path: Path, index: FaultyUpstream, log: Path) -> Iterator[CacheClient]:
    scrubber = Scrubber(tmp_path / "data")
    with run_cache(tmp_path / "data/public", index.url, scrubber, RequestLog(log)) as client:
        yield client


def read_metrics(cache: CacheClient) -> dict[str, float]:
    """Return the samples by name and labels, as Prometheus writes them."""
    response = httpx.get(f"{cache.url}/metrics", trust_env=False, timeout=60)
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_counts_requests_hits_and_the_upstream(
    cache: CacheClient, index: FaultyUpstream, log: Path
) -> None:
    file = index.add_package("lib")
    cache.fetch_sha256("lib")
    log.write_text("page 200 100 -\npage 200 100 200\nfile 200 5 -\nprivate 403 1 403\n")
    metrics = read_metrics(cache)
    assert metrics["pypi_mirror_requests_total page 200"] == 2
    assert metrics["pypi_mirror_requests_total private 403"] == 1
    assert metrics["pypi_mirror_hits_total page"] == 1
    assert metrics["pypi_mirror_hits_total file"] == 1
    assert metrics["pypi_mirror_sent_bytes_total page"] == 200
    assert metrics["pypi_mirror_fetched_total page"] == 1
    assert metrics["pypi_mirror_fetched_bytes_total"] == len(file.content)
    assert metrics["pypi_mirror_upstream_request_seconds_count page default"] == 1
    assert metrics["pypi_mirror_upstream_request_seconds_count file default"] == 1
    assert metrics["pypi_mirror_upstream_up default"] == 1
    assert metrics["pypi_mirror_stored_files"] == 1
    assert metrics["pypi_mirror_volume_free_bytes"] > 0


def test_counts_errors_of_the_upstream_by_reason(cache: CacheClient, index: FaultyUpstream) -> None:
    page = f"{cache.url}/workloads/stable/+simple/lib/"
    httpx.get(page, trust_env=False)
    assert not [name for name in read_metrics(cache) if "errors" in name], "404 is an answer"
    with index.inject_fault("403"):
        httpx.get(page, trust_env=False)
    with index.inject_fault("500"):
        httpx.get(page, trust_env=False)
    metrics = read_metrics(cache)
    assert metrics["pypi_mirror_upstream_errors_total page refused default"] == 1
    assert metrics["pypi_mirror_upstream_errors_total page unavailable default"] == 1
    assert metrics["pypi_mirror_upstream_up default"] == 0


def test_the_status_counts_what_nginx_has_logged(cache: CacheClient, log: Path) -> None:
    log.write_text(
        "page 200 100 -\npage 200 100 200\nfile 200 5 -\nfile 200 5 -\nprivate 200 1 -\n"
    )
    for _ in range(3):
        status = parse_cache_status(cache.read_status(), "")
        assert (status.requests, status.asked, status.hit_rate) == (4, 1, 0.75)


def test_dashboard_and_alerts_use_metrics_that_exist(
    cache: CacheClient, index: FaultyUpstream, log: Path
) -> None:
    index.add_package("lib")
    cache.fetch_sha256("lib")
    text = httpx.get(f"{cache.url}/metrics", trust_env=False, timeout=60).text
    families = {family.name for family in text_string_to_metric_families(text)}
    rendered = json.dumps([render_dashboard(SETTINGS), render_alerts(SETTINGS)])
    used = set(re.findall(r"pypi_mirror_\w+", rendered))
    suffix = re.compile(r"_(?:total|bucket|count|sum)$")
    assert len(used) > 8
    assert {name for name in used if suffix.sub("", name) not in families} == set()
