"""HTTP client of the upstream index: requests with time limits, and whether the upstream works."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from urllib.parse import urljoin, urlsplit

import aiohttp
from isal import isal_zlib
from yarl import URL

from mirror.cache.addresses import AddressGuard, GuardedResolver
from mirror.cache.errors import (
    NotFoundError,
    RateLimitedError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.upstream_metrics import UpstreamMetrics
from mirror.core.errors import MirrorError
from mirror.http_pool import create_tls_context, find_proxy
from mirror.settings import DEFAULT_UPSTREAM, SIMPLE_JSON

CONNECT_TIMEOUT = 15.0  # seconds; hundreds of connections at once wait for each other
READ_TIMEOUT = 15.0  # seconds without a byte
PAGE_TIMEOUT = 40.0  # seconds for a whole page
MAX_PAGE_BYTES = 48 * 1024**2  # the largest pages of public indexes have about 15 MB
FAILURE_PAUSE = 5.0  # seconds after a failure in which stored pages are served without a request
ACCEPT = f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
MAX_RATE_LIMIT_WAIT = 15.0  # seconds of a Retry-After that are waited for, at most this often:
_RATE_LIMIT_WAITS = 2
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_KNOWN_HOSTS = 100  # whose proxy is remembered
_READ_BUFFER = 128 * 1024  # bytes of one response, twice as much at most
_HEADERS = {"User-Agent": "pypi-mirror"}
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's code for "with a gzip header"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamResponse:
    """A project page as the upstream sent it; ``body`` None if the stored page is current."""

    body: bytes | None
    content_type: str
    url: str  # after redirects: the base of relative links
    etag: str
    is_gzip: bool = False

    def decode_body(self) -> bytes:
        """Return the page; this takes a while for a compressed one. Raises UpstreamResponseError"""
        assert self.body is not None
        if not self.is_gzip:
            return self.body
        try:
            unpacker = isal_zlib.decompressobj(_GZIP_WINDOW)
            body: bytes = unpacker.decompress(self.body, MAX_PAGE_BYTES + 1)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub says Any
            raise UpstreamResponseError(f"its page is not gzip: {error}") from error
        if len(body) > MAX_PAGE_BYTES:
            raise UpstreamResponseError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
        if not unpacker.eof:
            raise UpstreamResponseError("its page is cut off")
        return body


@dataclass(frozen=True, slots=True)
class FileResponse:
    """A file that the upstream sends: its length, None if unknown, and the bytes as they arrive."""

    length: int | None
    content_type: str
    content: aiohttp.StreamReader


class UpstreamClient:
    """Client of one upstream, given by the URL of its simple index. For one event loop."""

    def __init__(
        self,
        url: str,
        *,
        name: str = DEFAULT_UPSTREAM,
        ca_bundle: str | None = None,
        metrics: UpstreamMetrics | None = None,
    ) -> None:
        self.name = name
        self.url = url.rstrip("/") + "/"
        self.metrics = metrics or UpstreamMetrics()
        self.state_since = time.time()
        self.error = ""  # why the upstream is unavailable; empty while it works
        self._guard = AddressGuard(self.url)
        self._tls = create_tls_context(ca_bundle)
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str] = {}  # by the start of a URL
        self._unavailable_until = 0.0
        self._page_end = "/"  # a few indexes have their pages only without the slash
        self._knows_page_end = False

    @property
    def is_unavailable(self) -> bool:
        """Whether a request of a page failed less than FAILURE_PAUSE seconds ago."""
        return time.monotonic() < self._unavailable_until

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch_page(self, project: str, etag: str) -> UpstreamResponse:
        """Request a page unless it has this ETag. Raises NotFoundError, UnavailableError."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        try:
            with self.metrics.measure(self.name, "page"):
                page = await self._find_in_time(project, headers, etag)
        except UpstreamUnavailableError as error:
            raise self.mark_unavailable(str(error)) from error
        self._mark_available()
        return page

    async def _find_in_time(
        self, project: str, headers: dict[str, str], etag: str
    ) -> UpstreamResponse:
        try:
            async with asyncio.timeout(PAGE_TIMEOUT):
                return await self._find_page(project, headers, etag)
        except TimeoutError as error:
            message = f"its page took more than {PAGE_TIMEOUT:.0f} s"
            raise UpstreamUnavailableError(message) from error

    async def _find_page(
        self, project: str, headers: dict[str, str], etag: str
    ) -> UpstreamResponse:
        """Request a page; until the first one was found, also without the slash at its end."""
        url = f"{self.url}{project}"
        try:
            page = await self._read_page(url + self._page_end, headers, etag)
        except NotFoundError as missing:
            if self._knows_page_end:
                raise
            try:
                page = await self._read_page(url, headers, etag)
            except (NotFoundError, UnavailableError):
                raise missing from None
            self._page_end = ""
        self._knows_page_end = True
        return page

    async def _read_page(self, url: str, headers: dict[str, str], etag: str) -> UpstreamResponse:
        async with self._get(url, headers) as response:
            if response.status == 304:
                return UpstreamResponse(body=None, content_type="", url="", etag=etag)
            body = BytesIO()  # its value is not copied
            async for chunk in response.content.iter_any():
                body.write(chunk)
                if body.tell() > MAX_PAGE_BYTES:
                    raise UpstreamResponseError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in {"identity", "gzip", "x-gzip"}:
                raise UpstreamResponseError(f"its page has the encoding {encoding[:40]!r}")
            return UpstreamResponse(
                body=body.getvalue(),
                content_type=response.headers.get("Content-Type", ""),
                url=str(response.url),
                etag=response.headers.get("ETag", ""),
                is_gzip=encoding != "identity",
            )

    @asynccontextmanager
    async def stream_file(self, url: str) -> AsyncIterator[FileResponse]:
        """Request a file. A failure says nothing about the index: other requests go on."""
        async with AsyncExitStack() as stack:
            with self.metrics.measure(self.name, "file"):
                request = self._get(url, {"Accept-Encoding": "identity"})
                response = await stack.enter_async_context(request)
                if response.status != 200:
                    message = f"the upstream responds with status {response.status}"
                    raise UpstreamResponseError(message)
            length = response.headers.get("Content-Length", "")
            yield FileResponse(
                int(length) if length.isdecimal() else None,
                response.headers.get("Content-Type", ""),
                response.content,
            )

    def mark_unavailable(self, why: str) -> UpstreamUnavailableError:
        """Record that the index fails; returns the error to raise."""
        if not self.error:
            self.state_since = time.time()
        self.error = why
        self._unavailable_until = time.monotonic() + FAILURE_PAUSE
        return UpstreamUnavailableError(why)

    def _mark_available(self) -> None:
        if self.error:
            self.error = ""
            self.state_since = time.time()
        self._unavailable_until = 0.0

    @asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; follow redirects, and wait if the upstream asks for a short pause."""
        try:
            for waits in range(_RATE_LIMIT_WAITS + 1):
                response = await self._follow(url, headers)
                pause = _parse_retry_after(response.headers.get("Retry-After", ""))
                is_last = waits == _RATE_LIMIT_WAITS or not pause or pause > MAX_RATE_LIMIT_WAIT
                if response.status != 429 or is_last:
                    break
                response.close()
                await asyncio.sleep(pause)
            try:
                _check_status(response.status, pause)
                yield response
            finally:
                response.close() if not response.content.is_eof() else response.release()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamUnavailableError(f"{type(error).__name__}: {error}"[:300]) from error
        except OSError as error:
            if error.filename is not None:
                raise  # an error of our disk
            raise UpstreamUnavailableError(f"{type(error).__name__}: {error}"[:300]) from error

    async def _follow(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._send(url, headers)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            url = urljoin(url, location).partition("#")[0]
            if urlsplit(url).scheme not in {"http", "https"}:
                raise UpstreamResponseError(f"the upstream redirects to {url[:200]!r}")
        raise UpstreamResponseError("the upstream redirects too often")

    async def _send(self, url: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        proxy = self._find_proxy(url)
        await self._guard.check_url(url)
        try:
            target = URL(url, encoded=url.isascii())
            return await self._open_session().get(
                target, headers=headers, proxy=proxy or None, allow_redirects=False
            )
        except (ValueError, UnicodeError) as error:  # InvalidURL is a ValueError, too
            raise UpstreamResponseError(f"not a usable URL: {url[:200]!r}") from error

    def _find_proxy(self, url: str) -> str:
        """Return the proxy of the environment for a URL; empty if there is none."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._proxies:
            try:
                proxy = find_proxy(url)
            except MirrorError as error:
                raise UnavailableError(str(error)) from error
            if proxy:
                self._guard.proxy_hosts.add(urlsplit(proxy).hostname or "")
            if len(self._proxies) == _MAX_KNOWN_HOSTS:
                self._proxies.clear()
            self._proxies[origin] = proxy
        return self._proxies[origin]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # pages and files have limits of their own
                ssl=self._tls,
                resolver=GuardedResolver(self._guard),
                keepalive_timeout=30,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
                ),
            )
        return self._session


def _check_status(status: int, retry_after: float) -> None:
    if status in {200, 304}:
        return
    message = f"the upstream responds with status {status}"
    if status in {404, 410}:
        raise NotFoundError(message)
    if status == 429:
        raise RateLimitedError(message, retry_after)
    if status >= 500:
        raise UpstreamUnavailableError(message)
    raise UpstreamResponseError(message)


def _parse_retry_after(text: str) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 if there is none."""
    if text.strip().isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max((when - datetime.now(UTC)).total_seconds(), 0.0) if when.tzinfo else 0.0
