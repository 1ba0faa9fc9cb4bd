"""Fetched once for whoever asks, and never stuck."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import PageStore
from mirror.cache.upstream import UpstreamClient, UpstreamResponse
from mirror.settings import SIMPLE_JSON

PROJECTS = [f"lib-{number}" for number in range(60)]


class InstantUpstream:
    """An upstream that answers at once, or raises what it was told to."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.raises: Exception | None = None
        self.is_unavailable = False

    def fetch_page(self, project: str, etag: str) -> UpstreamResponse:
        self.asked[project] += 1
        if self.raises is not None:
            raise self.raises
        if etag:
            return UpstreamResponse(body=None, content_type="", url="", etag=etag)
        files = [
            {"filename": f"{project}-1.tar.gz", "url": f"https://h.example/{project}-1.tar.gz"}
        ]
        told = {"meta": {"api-version": "1.0"}, "name": project, "files": files}
        body = json.dumps(told).encode()
        return UpstreamResponse(
            body=body, content_type=SIMPLE_JSON, url="https://h.example/", etag='"1"'
        )


@pytest.fixture
def upstream() -> InstantUpstream:
    return InstantUpstream()


@pytest.fixture
def pages(tmp_path: Path, upstream: InstantUpstream) -> PageCache:
    shelf = PageStore(tmp_path)
    shelf.prepare_for("https://h.example/simple/")
    return PageCache(shelf, cast(UpstreamClient, upstream))


def expire_pages(root: Path) -> None:
    for path in (root / "links").iterdir():
        os.utime(path, (0, 0))


@pytest.mark.timeout(120)
def test_many_at_once_are_answered_by_one_request_each(
    pages: PageCache, upstream: InstantUpstream
) -> None:
    """Answers that come before the asker has looked up: nobody may wait for himself."""
    with ThreadPoolExecutor(32) as pool:
        for _ in range(3):
            found = list(pool.map(lambda n: pages.get(PROJECTS[n % 60], "json"), range(600)))
            assert all(isinstance(one, Path) and one.exists() for one in found)
    assert set(upstream.asked.values()) == {1}


def test_an_old_page_is_asked_for_again_by_its_tag(
    pages: PageCache, upstream: InstantUpstream, tmp_path: Path
) -> None:
    pages.get("lib-1", "json")
    expire_pages(tmp_path)
    pages.get("lib-1", "html")
    assert upstream.asked["lib-1"] == 2
    pages.get("lib-1", "json")
    assert upstream.asked["lib-1"] == 2


@pytest.mark.parametrize(
    "fault", [UpstreamUnavailableError("x"), UpstreamResponseError("x"), NotFoundError("x")]
)
def test_what_is_there_outlives_the_upstream(
    pages: PageCache, upstream: InstantUpstream, tmp_path: Path, fault: Exception
) -> None:
    pages.get("lib-1", "json")
    upstream.raises = fault
    expire_pages(tmp_path)
    assert isinstance(pages.get("lib-1", "json"), Path)
    with pytest.raises((UnavailableError, NotFoundError)):
        pages.get("lib-2", "json")


def test_a_project_that_stays_away_is_gone(
    pages: PageCache, upstream: InstantUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.get("lib-1", "json")
    upstream.raises = NotFoundError("404")
    expire_pages(tmp_path)
    assert isinstance(pages.get("lib-1", "json"), Path)
    monkeypatch.setattr("mirror.cache.page_cache.REMOVAL_DELAY", 0.0)
    with pytest.raises(NotFoundError):
        pages.get("lib-1", "json")
    assert not (tmp_path / "pages/lib-1.json").exists()


def test_nginx_has_to_ask_again_when_the_time_is_over(
    pages: PageCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.cache.page_cache.MAX_AGE", 0.3)
    pages.get("lib-1", "json")
    fresh = tmp_path / "fresh/lib-1.json"
    until = time.monotonic() + 20
    while fresh.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not fresh.exists()
    assert (tmp_path / "pages/lib-1.json").exists()
