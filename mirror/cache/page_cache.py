"""Project pages: fetched once for whoever asks, kept, and served stale while upstream is away."""

from __future__ import annotations

import heapq
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mirror.cache import project_page
from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.page_store import PageStore
from mirror.cache.upstream import FAILURE_PAUSE, UpstreamClient

MAX_AGE = 600.0  # seconds for which a page is not asked for again: what public indexes allow
REFRESH_WAIT = 0.4  # seconds to wait for a newer page where there is an older one
FETCH_TIMEOUT = 50.0  # seconds a client waits for a page that we do not have
REMOVAL_DELAY = 900.0  # seconds for which a project has to be absent until we believe it
_READERS = 16  # pages under way at once


@dataclass(slots=True)
class PageCounters:
    """Since the start."""

    requests: int = 0
    fetched: int = 0


class PageCache:
    """The pages of one upstream."""

    def __init__(self, shelf: PageStore, upstream: UpstreamClient) -> None:
        self.counters = PageCounters()
        self._shelf = shelf
        self._upstream = upstream
        self._flights: dict[str, Future[project_page.ProjectPage | None]] = {}
        self._missing: dict[str, float] = {}  # known projects that upstream does not have: since
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # one page in memory as objects, however large
        self._workers = ThreadPoolExecutor(_READERS, "page")
        self._expiry = _Expiry(shelf)

    def get(self, project: str, kind: str) -> Path | bytes:
        """Where the page lies, or its bytes where the volume takes none.

        Absent, or Unavailable: the upstream has to be asked and gives no page.
        """
        self.counters.requests += 1
        held = self._shelf.find_page(project)
        now = time.time()
        if held and now - held.checked_at < MAX_AGE:
            return self._publish(project, kind, MAX_AGE - (now - held.checked_at))
        if held and self._upstream.is_unavailable:
            return self._publish(project, kind, FAILURE_PAUSE)
        flight = self._fly(project)
        try:
            unkept = flight.result(REFRESH_WAIT if held else FETCH_TIMEOUT)
        except NotYet:
            if held:
                return self._form(project, kind)
            raise UpstreamUnavailableError(f"no page within {FETCH_TIMEOUT:.0f} s") from None
        except UnavailableError:
            if held:
                return self._publish(project, kind, FAILURE_PAUSE)
            raise
        if unkept is not None:
            return unkept.body if kind == "json" else project_page.render_html(unkept.document)
        return self._publish(project, kind, MAX_AGE)

    def refresh(self, project: str) -> project_page.ProjectPage | None:
        """Ask the upstream now; the page where it could not be kept. Raises as ``ask`` does."""
        return self._fly(project).result(FETCH_TIMEOUT)

    def _fly(self, project: str) -> Future[project_page.ProjectPage | None]:
        """The one request for this page that is under way."""
        with self._lock:
            flight = self._flights.get(project)
            if flight is None:
                flight = self._flights[project] = self._workers.submit(self._run, project)
            return flight

    def _run(self, project: str) -> project_page.ProjectPage | None:
        try:
            return self._fetch(project)
        finally:
            with self._lock:
                del self._flights[project]

    def _fetch(self, project: str) -> project_page.ProjectPage | None:
        """Ask the upstream; the page itself only where it could not be kept."""
        held = self._shelf.find_page(project)
        if held and time.time() - held.checked_at < 1.0:
            return None  # somebody's request ended while this one was made
        try:
            answer = self._upstream.fetch_page(project, held.etag if held else "")
        except NotFoundError as told:
            self._absent(project, known=held is not None, why=str(told))
            raise
        self._missing.pop(project, None)
        self.counters.fetched += 1
        if answer.body is None:
            self._shelf.mark_checked(project)
            return None
        with self._reading:
            got = project_page.parse_page(
                answer.body, content_type=answer.content_type, url=answer.url, project=project
            )
        try:
            self._shelf.save_page(project, got, answer.etag)
        except OSError:
            return got  # the volume is full: this one is served from memory
        return None

    def _absent(self, project: str, *, known: bool, why: str) -> None:
        """A 404 of a project that we know may be a passing one: it has to last."""
        if not known:
            return
        since = self._missing.setdefault(project, time.monotonic())
        if time.monotonic() - since < REMOVAL_DELAY:
            raise UpstreamResponseError(f"{why} for a project that it had")
        self._shelf.remove_page(project)
        del self._missing[project]

    def _publish(self, project: str, kind: str, seconds: float) -> Path | bytes:
        found = self._form(project, kind)
        if isinstance(found, Path):
            with suppress(OSError):  # a full volume: asked again next time
                self._shelf.publish(project, kind)
                self._expiry.at(time.monotonic() + seconds, project, kind)
        return found

    def _form(self, project: str, kind: str) -> Path | bytes:
        """A page that is there, in one of its forms; from memory where the volume is full."""
        if kind == "json":
            return self._shelf.page_path(project, kind)
        with self._reading:
            try:
                return self._shelf.ensure_html(project)
            except OSError:
                told = project_page.load_document(
                    self._shelf.page_path(project, "json").read_bytes()
                )
                return project_page.render_html(told)


class _Expiry:
    """Takes pages out of nginx's hands when their time is over."""

    def __init__(self, shelf: PageStore) -> None:
        self._shelf = shelf
        self._heap: list[tuple[float, str, str]] = []
        self._due: dict[tuple[str, str], float] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="expiry", daemon=True).start()

    def at(self, when: float, project: str, kind: str) -> None:
        with self._changed:
            self._due[project, kind] = when
            heapq.heappush(self._heap, (when, project, kind))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    left = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(left)
                when, project, kind = heapq.heappop(self._heap)
                if self._due.get((project, kind)) != when:
                    continue  # it was published again
                del self._due[project, kind]
                self._shelf.unpublish(project, (kind,))
