"""Project pages: one request to the upstream for all clients, and old pages while it is down."""

from __future__ import annotations

import heapq
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from pathlib import Path

from mirror.cache import project_page
from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.page_store import PageStore
from mirror.cache.project_page import ProjectPage
from mirror.cache.upstream import FAILURE_PAUSE, UpstreamClient

MAX_AGE = 600.0  # seconds until a page is requested again; public indexes allow the same
REFRESH_WAIT = 0.4  # seconds a client with an old page waits for a newer one
FETCH_TIMEOUT = 50.0  # seconds a client waits for a page that is not stored
REMOVAL_DELAY = 900.0  # seconds the upstream has to answer 404 before a stored page is removed
_WORKERS = 16  # requests to the upstream at once


class PageCache:
    """The pages of one upstream. Thread-safe."""

    def __init__(self, store: PageStore, upstream: UpstreamClient) -> None:
        self.requests = 0  # of clients, since the start
        self.fetched = 0  # requests to the upstream, since the start
        self._store = store
        self._upstream = upstream
        self._fetches: dict[str, Future[ProjectPage | None]] = {}
        self._missing_since: dict[str, float] = {}  # stored projects that the upstream lost
        self._lock = threading.Lock()
        self._parsing = threading.Lock()  # pages are large: parse one at a time
        self._workers = ThreadPoolExecutor(_WORKERS, "page")
        self._expiry = _Expiry(store)

    def get(self, project: str, kind: str) -> Path | bytes:
        """Return a path; bytes if the volume is full. Raises NotFoundError, UnavailableError."""
        self.requests += 1
        stored = self._store.find_page(project)
        age = time.time() - stored.checked_at if stored else 0.0
        if stored and age < MAX_AGE:
            return self._publish(project, kind, MAX_AGE - age)
        if stored and self._upstream.is_unavailable:
            return self._publish(project, kind, FAILURE_PAUSE)
        fetch = self._start_fetch(project)
        try:
            unsaved = fetch.result(REFRESH_WAIT if stored else FETCH_TIMEOUT)
        except FutureTimeout:
            if stored:
                return self._find_form(project, kind)
            raise UpstreamUnavailableError(f"no page within {FETCH_TIMEOUT:.0f} s") from None
        except UnavailableError:
            if stored:
                return self._publish(project, kind, FAILURE_PAUSE)
            raise
        if unsaved is not None:
            return unsaved.body if kind == "json" else project_page.render_html(unsaved.document)
        return self._publish(project, kind, MAX_AGE)

    def refresh(self, project: str) -> ProjectPage | None:
        """Request the page now; returns it only if it could not be stored. Raises like ``get``."""
        return self._start_fetch(project).result(FETCH_TIMEOUT)

    def _start_fetch(self, project: str) -> Future[ProjectPage | None]:
        with self._lock:
            fetch = self._fetches.get(project)
            if fetch is None:
                fetch = self._fetches[project] = self._workers.submit(self._run_fetch, project)
            return fetch

    def _run_fetch(self, project: str) -> ProjectPage | None:
        try:
            return self._fetch(project)
        finally:
            with self._lock:
                del self._fetches[project]

    def _fetch(self, project: str) -> ProjectPage | None:
        """Request and store the page; returns it only if it could not be stored."""
        stored = self._store.find_page(project)
        if stored and time.time() - stored.checked_at < 1.0:
            return None  # another request finished while this one was waiting
        try:
            response = self._upstream.fetch_page(project, stored.etag if stored else "")
        except NotFoundError as error:
            if stored:
                self._handle_missing(project, str(error))
            raise
        self._missing_since.pop(project, None)
        self.fetched += 1
        if response.body is None:
            self._store.mark_checked(project)
            return None
        with self._parsing:
            page = project_page.parse_page(
                response.body, content_type=response.content_type, url=response.url, project=project
            )
        try:
            self._store.save_page(project, page, response.etag)
        except OSError:
            return page  # the volume is full: serve it from memory
        return None

    def _handle_missing(self, project: str, why: str) -> None:
        """Remove a stored project once its 404 has lasted; before that the 404 may be temporary."""
        since = self._missing_since.setdefault(project, time.monotonic())
        if time.monotonic() - since < REMOVAL_DELAY:
            raise UpstreamResponseError(f"{why} for a project that it had before")
        self._store.remove_page(project)
        del self._missing_since[project]

    def _publish(self, project: str, kind: str, seconds: float) -> Path | bytes:
        """Let nginx serve the page without asking the cache, for a few seconds."""
        page = self._find_form(project, kind)
        if isinstance(page, Path):
            with suppress(OSError):  # the volume is full: nginx asks again next time
                self._store.publish(project, kind)
                self._expiry.schedule(time.monotonic() + seconds, project, kind)
        return page

    def _find_form(self, project: str, kind: str) -> Path | bytes:
        """Return one form of a stored page; HTML from memory if the volume is full."""
        if kind == "json":
            return self._store.page_path(project, kind)
        with self._parsing:
            try:
                return self._store.ensure_html(project)
            except OSError:
                body = self._store.page_path(project, "json").read_bytes()
                return project_page.render_html(project_page.load_document(body))


class _Expiry:
    """Unpublish pages when they expire, in its own thread."""

    def __init__(self, store: PageStore) -> None:
        self._store = store
        self._heap: list[tuple[float, str, str]] = []
        self._due: dict[tuple[str, str], float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="expiry", daemon=True).start()

    def schedule(self, when: float, project: str, kind: str) -> None:
        """Unpublish one form of a page at a time of the monotonic clock."""
        with self._changed:
            self._due[project, kind] = when
            heapq.heappush(self._heap, (when, project, kind))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    pause = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(pause)
                when, project, kind = heapq.heappop(self._heap)
                if self._due.get((project, kind)) != when:
                    continue  # the page was published again
                del self._due[project, kind]
                self._store.unpublish(project, (kind,))
