"""The page cache: one request for all clients, old pages while the upstream fails."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
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
from mirror.volume import PageKind

PROJECTS = [f"lib-{number}" for number in range(60)]


class InstantUpstream:
    """An upstream that responds at once, or raises ``error``."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.error: Exception | None = None
        self.is_unavailable = False

    async def fetch_page(self, project: str, etag: str) -> UpstreamResponse:
        self.requests[project] += 1
        if self.error is not None:
            raise self.error
        if etag:
            return UpstreamResponse(body=None, content_type="", url="", etag=etag)
        filename = f"{project}-1.tar.gz"
        files = [{"filename": filename, "url": f"https://h.example/{filename}"}]
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": files}
        body = json.dumps(page).encode()
        return UpstreamResponse(
            body=body, content_type=SIMPLE_JSON, url="https://h.example/", etag='"1"'
        )


@pytest.fixture
def upstream() -> InstantUpstream:
    return InstantUpstream()


class PageClient:
    """Asks a page cache that runs in an event loop of its own."""

    def __init__(self, cache: PageCache, runner: asyncio.Runner) -> None:
        self.cache, self._runner = cache, runner

    def get(self, project: str, kind: PageKind) -> Path | bytes:
        return self._runner.run(self.cache.get(project, kind))

    def get_all(self, projects: Iterable[str]) -> list[Path | bytes]:
        """Request pages at once."""

        async def gather() -> list[Path | bytes]:
            return await asyncio.gather(*(self.cache.get(name, "json") for name in projects))

        return self._runner.run(gather())

    def wait(self, seconds: float) -> None:
        """Let the event loop run."""
        self._runner.run(asyncio.sleep(seconds))


@pytest.fixture
def pages(tmp_path: Path, upstream: InstantUpstream) -> Iterator[PageClient]:
    store = PageStore(tmp_path)
    store.prepare_for("https://h.example/simple/")
    with asyncio.Runner() as runner:
        yield PageClient(PageCache(store, cast(UpstreamClient, upstream)), runner)


def expire_pages(root: Path) -> None:
    for path in (root / "links").iterdir():
        os.utime(path, (0, 0))


@pytest.mark.timeout(120)
def test_concurrent_clients_share_one_request_per_page(
    pages: PageClient, upstream: InstantUpstream
) -> None:
    """Even if the response arrives before the client starts to wait: no client waits forever."""
    for _ in range(3):
        paths = pages.get_all(PROJECTS[n % 60] for n in range(600))
        assert all(isinstance(path, Path) and path.exists() for path in paths)
    assert set(upstream.requests.values()) == {1}


def test_revalidates_an_expired_page_by_its_etag(
    pages: PageClient, upstream: InstantUpstream, tmp_path: Path
) -> None:
    pages.get("lib-1", "json")
    expire_pages(tmp_path)
    pages.get("lib-1", "html")
    assert upstream.requests["lib-1"] == 2
    pages.get("lib-1", "json")
    assert upstream.requests["lib-1"] == 2


@pytest.mark.parametrize(
    "error", [UpstreamUnavailableError("x"), UpstreamResponseError("x"), NotFoundError("x")]
)
def test_serves_stored_pages_while_the_upstream_fails(
    pages: PageClient, upstream: InstantUpstream, tmp_path: Path, error: Exception
) -> None:
    pages.get("lib-1", "json")
    upstream.error = error
    expire_pages(tmp_path)
    assert isinstance(pages.get("lib-1", "json"), Path)
    with pytest.raises((UnavailableError, NotFoundError)):
        pages.get("lib-2", "json")


def test_removes_a_page_after_a_lasting_404(
    pages: PageClient, upstream: InstantUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.get("lib-1", "json")
    upstream.error = NotFoundError("404")
    expire_pages(tmp_path)
    assert isinstance(pages.get("lib-1", "json"), Path)
    monkeypatch.setattr("mirror.cache.page_cache.REMOVAL_DELAY", 0.0)
    with pytest.raises(NotFoundError):
        pages.get("lib-1", "json")
    assert not (tmp_path / "pages/lib-1.json").exists()


def test_unpublishes_a_page_when_it_expires(
    pages: PageClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.cache.page_cache.MAX_AGE", 0.3)
    pages.get("lib-1", "json")
    published = tmp_path / "fresh/lib-1.json"
    end = time.monotonic() + 20
    while published.exists() and time.monotonic() < end:
        pages.wait(0.05)
    assert not published.exists()
    assert (tmp_path / "pages/lib-1.json").exists()


def test_a_page_from_the_future_is_not_fresh(
    pages: PageClient, upstream: InstantUpstream, tmp_path: Path
) -> None:
    """The clock was wrong when it was fetched."""
    pages.get("lib-1", "json")
    future = time.time() + 30 * 86400
    os.utime(tmp_path / "links/lib-1", (future, future))
    pages.get("lib-1", "json")
    assert upstream.requests["lib-1"] == 2


def test_a_request_goes_on_when_its_client_leaves(
    pages: PageClient, upstream: InstantUpstream, tmp_path: Path
) -> None:
    async def leave() -> None:
        request = asyncio.create_task(pages.cache.get("lib-1", "json"))
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait({request})

    pages._runner.run(leave())
    pages.get("lib-1", "json")
    assert upstream.requests["lib-1"] == 1


def test_the_folders_come_back(pages: PageClient, tmp_path: Path) -> None:
    """Somebody has removed them under the running cache."""
    pages.get("lib-1", "json")
    shutil.rmtree(tmp_path / "pages")
    shutil.rmtree(tmp_path / "fresh")
    shutil.rmtree(tmp_path / "partial")
    page = pages.get("lib-1", "json")
    assert isinstance(page, Path)
    assert page.exists()
    assert (tmp_path / "fresh/lib-1.json").exists()
