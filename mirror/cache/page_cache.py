"""Project pages: one request to the upstream for all clients, and old pages while it is down."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from mirror.cache import project_page
from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.page_policy import PagePolicy
from mirror.cache.page_store import PageStore
from mirror.cache.project_page import ProjectPage
from mirror.cache.upstream import FAILURE_PAUSE, UpstreamClient, UpstreamResponse
from mirror.volume import PageKind

MAX_AGE = 600.0  # seconds until a page is requested again; public indexes allow the same
REFRESH_WAIT = 0.4  # seconds a client with an old page waits for a newer one
FETCH_TIMEOUT = 50.0  # seconds a client waits for a page that is not stored
REMOVAL_DELAY = 900.0  # seconds the upstream has to answer 404 before a stored page is removed
_REQUESTS = 32  # to the upstream at once; others wait for their turn
_PARSERS = 2  # threads: pages are large, so that more would only need more memory


class PageCache:
    """The pages of one upstream. For one event loop; pages are parsed in threads."""

    def __init__(
        self, store: PageStore, upstream: UpstreamClient, policy: PagePolicy | None = None
    ) -> None:
        self.requests = 0  # of clients, since the start
        self.fetched = 0  # requests to the upstream, since the start
        self._store = store
        self._upstream = upstream
        self._policy = policy
        # of each page in shown/: the page's time, the exemptions' version, when more is shown
        self._shown: dict[str, tuple[int, int, float]] = {}
        self._fetches: dict[str, asyncio.Task[ProjectPage | None]] = {}
        self._renderings: dict[str, asyncio.Task[Path | bytes]] = {}
        self._missing_since: dict[str, float] = {}  # stored projects that the upstream lost
        self._turn = asyncio.Semaphore(_REQUESTS)
        self._parsers = ThreadPoolExecutor(_PARSERS, "page")
        self._expiries: dict[tuple[str, PageKind], asyncio.TimerHandle] = {}

    async def get(self, project: str, kind: PageKind, *, publish: bool = True) -> Path | bytes:
        """Return a path; bytes if the volume is full. Raises NotFoundError, UnavailableError.

        ``publish``: nginx may serve the page to all clients that ask for the project.
        """
        self.requests += 1
        stored = self._store.find_page(project)
        if stored and stored.age < MAX_AGE:
            return await self._publish(project, kind, MAX_AGE - stored.age, publish=publish)
        if stored and self._upstream.is_unavailable:
            return await self._publish(project, kind, FAILURE_PAUSE, publish=publish)
        fetch = self._start_fetch(project)
        await asyncio.wait({fetch}, timeout=REFRESH_WAIT if stored else FETCH_TIMEOUT)
        if not fetch.done():
            if stored:
                return await self._find_form(project, kind)
            raise UpstreamUnavailableError(f"no page within {FETCH_TIMEOUT:.0f} s")
        try:
            unsaved = fetch.result()
        except UnavailableError:
            if stored:
                return await self._publish(project, kind, FAILURE_PAUSE, publish=publish)
            raise
        if unsaved is not None:
            return self._render_unsaved(project, unsaved, kind)
        return await self._publish(project, kind, MAX_AGE, publish=publish)

    async def refresh(self, project: str) -> ProjectPage | None:
        """Request the page now; returns it only if it could not be stored. Raises like ``get``."""
        return await asyncio.shield(self._start_fetch(project))

    def _start_fetch(self, project: str) -> asyncio.Task[ProjectPage | None]:
        """Start a request, or return the running one. It goes on after its clients have left."""
        fetch = self._fetches.get(project)
        if fetch is None:
            fetch = self._fetches[project] = asyncio.create_task(self._run_fetch(project))
            fetch.add_done_callback(_ignore_result)
        return fetch

    async def _run_fetch(self, project: str) -> ProjectPage | None:
        try:
            async with self._turn:
                return await self._fetch(project)
        except (NotFoundError, UnavailableError):
            raise
        except Exception as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
        finally:
            del self._fetches[project]

    async def _fetch(self, project: str) -> ProjectPage | None:
        """Request and store the page; returns it only if it could not be stored."""
        stored = self._store.find_page(project)
        if stored and stored.age < 1.0:
            return None  # another request finished while this one was waiting
        try:
            response = await self._upstream.fetch_page(project, stored.etag if stored else "")
        except NotFoundError as error:
            if stored:
                self._handle_missing(project, str(error))
            raise
        self._missing_since.pop(project, None)
        self.fetched += 1
        if response.body is None:
            self._store.mark_checked(project)
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parsers, self._parse_and_save, project, response)

    def _parse_and_save(self, project: str, response: UpstreamResponse) -> ProjectPage | None:
        page = project_page.parse_page(
            response.decode_body(),
            content_type=response.content_type,
            url=response.url,
            project=project,
            prefix=self._store.prefix,
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

    async def _publish(
        self, project: str, kind: PageKind, seconds: float, *, publish: bool
    ) -> Path | bytes:
        """Return the page; let nginx serve it without asking the cache, for a few seconds."""
        page = await self._find_form(project, kind)
        if self._policy is not None and project in self._shown:
            seconds = min(seconds, max(self._shown[project][2] - time.time(), 0.0))
        if publish and isinstance(page, Path):
            with suppress(OSError):  # the volume is full: nginx asks again next time
                self._store.publish(project, kind)
                self._schedule_expiry(project, kind, seconds)
        return page

    def _schedule_expiry(self, project: str, kind: PageKind, seconds: float) -> None:
        """Unpublish one form of a page when it is no longer fresh."""

        def expire() -> None:
            del self._expiries[project, kind]
            self._store.unpublish(project, (kind,))

        previous = self._expiries.get((project, kind))
        if previous is not None:
            previous.cancel()
        loop = asyncio.get_running_loop()
        self._expiries[project, kind] = loop.call_later(seconds, expire)

    def _render_unsaved(self, project: str, page: ProjectPage, kind: PageKind) -> bytes:
        """Return a form of a page that is not on the volume."""
        if self._policy is not None:
            verdict = self._policy.apply(project, page.document)
            return project_page.render_form(verdict.document, kind)
        return page.body if kind == "json" else project_page.render_html(page.document)

    async def _apply_policy(self, project: str, kind: PageKind) -> bytes | None:
        """Write the page that clients get, unless it is current; bytes if the volume is full."""
        policy = self._policy
        if policy is None:
            return None

        def write() -> bytes | None:
            source = self._store.page_path(project, "json")
            changed_at = source.stat().st_mtime_ns
            version = policy.read_version()
            state = self._shown.get(project)
            is_there = self._store.served_path(project, "json").exists()
            is_same = is_there and state is not None and state[:2] == (changed_at, version)
            if is_same and state is not None and time.time() < state[2]:
                return None
            verdict = policy.apply(project, project_page.load_document(source.read_bytes()))
            until = float("inf") if verdict.next_change is None else verdict.next_change
            try:
                self._store.save_shown_page(project, verdict.document)
            except OSError:
                return project_page.render_form(verdict.document, kind)
            self._shown[project] = (changed_at, version, until)
            return None

        try:
            return await asyncio.get_running_loop().run_in_executor(self._parsers, write)
        except FileNotFoundError as error:
            raise UnavailableError("the page was removed") from error

    async def _find_form(self, project: str, kind: PageKind) -> Path | bytes:
        """Return one form of a stored page; HTML from memory if the volume is full."""
        body = await self._apply_policy(project, kind)
        if body is not None:
            return body
        path = self._store.served_path(project, kind)
        if kind == "json" or path.exists():
            return path
        rendering = self._renderings.get(project)
        if rendering is None:
            rendering = self._renderings[project] = asyncio.create_task(self._render(project))
            rendering.add_done_callback(_ignore_result)
        return await asyncio.shield(rendering)

    async def _render(self, project: str) -> Path | bytes:
        def render() -> Path | bytes:
            try:
                return self._store.ensure_html(project)
            except OSError:
                body = self._store.served_path(project, "json").read_bytes()
                return project_page.render_html(project_page.load_document(body))

        try:
            return await asyncio.get_running_loop().run_in_executor(self._parsers, render)
        except FileNotFoundError as error:  # somebody removed it in the meantime
            raise UnavailableError("the page was removed") from error
        finally:
            del self._renderings[project]


def _ignore_result(task: asyncio.Task[object]) -> None:
    """Retrieve the error of a task: those who wait for it have it, if there are any left."""
    if not task.cancelled():
        task.exception()
