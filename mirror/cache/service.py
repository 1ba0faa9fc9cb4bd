"""The parts of the cache, put together, and their status."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mirror.cache.file_cache import FileCache
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import PageStore
from mirror.cache.request_log import READ_INTERVAL, RequestLog
from mirror.cache.scrubber import Scrubber
from mirror.cache.upstream import UpstreamClient
from mirror.core.codec import dump


class CacheService:
    """The parts of the cache, and their status. To be created in an event loop."""

    def __init__(
        self,
        root: Path,
        upstream: UpstreamClient,
        scrubber: Scrubber,
        request_log: RequestLog | None = None,
    ) -> None:
        self.store = PageStore(root)
        self.scrubber = scrubber
        self.upstream = upstream
        self.upstream_metrics = upstream.metrics
        self.request_log = request_log or RequestLog(None)
        self.status_requests = 0  # since the start
        self.store.prepare_for(upstream.url)
        self.pages = PageCache(self.store, upstream)
        self.files = FileCache(self.store, upstream, self.pages)

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

    def status(self) -> dict[str, object]:
        """Return the document of /+mirror/status; mirror/cache_status.py reads it."""
        pages, files, upstream = self.pages, self.files, self.upstream
        return {
            "upstream": {
                "url": upstream.url,
                "state": "away" if upstream.error else "ok",
                "since": upstream.state_since,
                "error": upstream.error,
                "origin": self.store.read_origin(),
            },
            **self.store.count_contents(),
            **self._count_served(),
            "asked": {
                "pages": pages.requests,
                "files": files.requests,
                "status": self.status_requests,
            },
            "fetched": {
                "pages": pages.fetched,
                "files": files.fetched,
                "bytes": files.fetched_bytes,
            },
            "volume": dump(self.store.measure_volume()),
            "scrub": {
                "ended": self.scrubber.last_ended,
                "mended": self.scrubber.repaired,
                "lost": self.scrubber.lost_uploads(),
            },
        }
