"""The parts of the cache, put together, and their status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from mirror.cache.file_cache import FileCache
from mirror.cache.home_page import ListedProject
from mirror.cache.page_cache import PageCache
from mirror.cache.page_policy import PagePolicy
from mirror.cache.page_store import PageStore
from mirror.cache.public_index import PublicIndex, UpstreamCache
from mirror.cache.request_log import READ_INTERVAL, RequestLog
from mirror.cache.scrubber import Scrubber
from mirror.cache.upstream import UpstreamClient
from mirror.core.codec import dump
from mirror.policy import Policy
from mirror.settings import DEFAULT_UPSTREAM
from mirror.store.inventory import list_cached_projects
from mirror.upstreams import UPSTREAM_PATH
from mirror.volume import FRESH, PRIVATE, upstream_folder

_DESCRIPTION_AGE = 10.0  # seconds


class CacheService:
    """The parts of the cache, and their status. To be created in an event loop."""

    def __init__(
        self,
        root: Path,
        upstreams: Sequence[UpstreamClient],
        scrubber: Scrubber,
        request_log: RequestLog | None = None,
        *,
        pins: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.root = root
        self.scrubber = scrubber
        self.request_log = request_log or RequestLog(None)
        self.status_requests = 0  # since the start
        self._description_lock = Lock()
        self._described_at = float("-inf")
        self._description: tuple[dict[str, object], list[ListedProject]] = ({}, [])
        base = next((u for u in upstreams if u.name == DEFAULT_UPSTREAM), upstreams[0])
        page_policy = PagePolicy(policy, root) if policy and not policy.is_empty else None
        self.upstreams = [_open_upstream(root, c, base, page_policy) for c in upstreams]
        self.base = next(upstream for upstream in self.upstreams if upstream.client is base)
        self.index = PublicIndex(self.upstreams, pins or {}, page_policy)

    async def watch_requests(self) -> None:
        """Count the requests that nginx logs, and keep its log short."""
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(None, self.request_log.read)
            await asyncio.sleep(READ_INTERVAL)

    def _count_served(self) -> dict[str, object]:
        """Return the requests of clients; nothing without nginx's log."""
        log = self.request_log
        if not log.is_available:
            return {}
        log.read()
        hits = log.hits["page"] + log.hits["file"]
        counts = {f"{kind}s": log.count(kind) for kind in ("page", "file")}
        return {"served": {**counts, "private": log.count("private"), "hits": hits}}

    def describe(self) -> tuple[dict[str, object], list[ListedProject]]:
        """Return the status and all projects, at most 10 s old: both walk through the volume."""
        with self._description_lock:
            if time.monotonic() - self._described_at > _DESCRIPTION_AGE:
                self._description = (self.status(), self._list_projects())
                self._described_at = time.monotonic()
            return self._description

    def _list_projects(self) -> list[ListedProject]:
        """Return private projects, then cached ones that no private one hides."""
        private: set[str] = set()
        with suppress(OSError):
            private = {marker.name for marker in (self.root.parent / PRIVATE).iterdir()}
        listed = [ListedProject(name, True) for name in sorted(private)]
        return listed + [
            ListedProject(project.name, False, project.files, project.size)
            for project in list_cached_projects(self.root)
            if project.name not in private
        ]

    def count_contents(self) -> dict[str, int]:
        """Count the pages, the files and their bytes of all upstreams."""
        counts = [upstream.store.count_contents() for upstream in self.upstreams]
        return {key: sum(count[key] for count in counts) for key in counts[0]}

    def count_fetched(self) -> dict[str, int]:
        """Count the pages and files from all upstreams since the start, and the files' bytes."""
        return {
            "pages": sum(upstream.pages.fetched for upstream in self.upstreams),
            "files": sum(upstream.files.fetched for upstream in self.upstreams),
            "bytes": sum(upstream.files.fetched_bytes for upstream in self.upstreams),
        }

    def status(self) -> dict[str, object]:
        """Return the document of /+mirror/status; mirror/cache_status.py reads it."""
        return {
            "upstream": _describe_upstream(self.base),
            "upstreams": [
                {"name": upstream.name, **_describe_upstream(upstream)}
                for upstream in self.upstreams
            ],
            "policy": self.index.policy.rules.describe() if self.index.policy else [],
            **self.count_contents(),
            **self._count_served(),
            "asked": {
                "pages": sum(upstream.pages.requests for upstream in self.upstreams),
                "files": sum(upstream.files.requests for upstream in self.upstreams),
                "status": self.status_requests,
            },
            "fetched": self.count_fetched(),
            "volume": dump(self.base.store.measure_volume()),
            "scrub": {
                "ended": self.scrubber.last_ended,
                "mended": self.scrubber.repaired,
                "lost": self.scrubber.lost_uploads(),
            },
        }


def _open_upstream(
    root: Path, client: UpstreamClient, base: UpstreamClient, policy: PagePolicy | None
) -> UpstreamCache:
    """Open the folders of an upstream; those of ``base`` are the root's own."""
    has_policy = policy is not None
    store = PageStore(root, has_policy=has_policy)
    if client is not base:
        store = PageStore(
            upstream_folder(root, client.name),
            fresh=root / FRESH,
            prefix=f"{UPSTREAM_PATH}/{client.name}/",
            has_policy=has_policy,
        )
    store.prepare_for(client.url)
    pages = PageCache(store, client, policy)
    return UpstreamCache(client, store, pages, FileCache(store, client, pages))


def _describe_upstream(upstream: UpstreamCache) -> dict[str, object]:
    client = upstream.client
    return {
        "url": client.url,
        "state": "away" if client.error else "ok",
        "since": client.state_since,
        "error": client.error,
        "origin": upstream.store.read_origin(),
    }
