"""The upstream index over HTTP: one request, with an end in time; and whether it is well."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse
from urllib3.util import make_headers

from mirror.cache.errors import NotFoundError, UpstreamResponseError, UpstreamUnavailableError
from mirror.cache.project_page import ACCEPT

CONNECT_TIMEOUT = 5.0  # seconds until a connection is there
READ_TIMEOUT = 15.0  # seconds without a byte
PAGE_TIMEOUT = 40.0  # seconds that a page may take in all
MAX_PAGE_BYTES = 48 * 1024**2  # the largest pages of public indexes have about 15 MB
FAILURE_PAUSE = 5.0  # seconds for which an upstream that failed is not asked for what we have
_CHUNK = 256 * 1024  # bytes
_AGENT = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamResponse:
    """A page's bytes; ``body`` None: what we have is still right."""

    body: bytes | None
    content_type: str
    url: str  # after redirects: what relative links are relative to
    etag: str


class UpstreamClient:
    """One upstream, named by the URL of its simple index."""

    def __init__(self, url: str, *, connections: int, ca_bundle: str | None = None) -> None:
        self.url = url.rstrip("/") + "/"
        self._context = ssl.create_default_context(cafile=ca_bundle)
        self._connections = connections
        self._proxies = getproxies()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._away_until = 0.0
        self.state_since = time.time()
        self.error = ""  # why it is away; empty while it is well

    @property
    def is_unavailable(self) -> bool:
        """It failed a moment ago: what we have is served without asking it."""
        return time.monotonic() < self._away_until

    def fetch_page(self, project: str, etag: str) -> UpstreamResponse:
        """Ask for a project's page. Absent, UpstreamAway or UpstreamRefused where it has none."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        until = time.monotonic() + PAGE_TIMEOUT
        with self._get(f"{self.url}{project}/", headers) as answer:
            if answer.status == 304:
                self._well()
                return UpstreamResponse(body=None, content_type="", url="", etag=etag)
            body = bytearray()
            for chunk in answer.stream(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise UpstreamResponseError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
                if time.monotonic() > until:
                    raise self.mark_unavailable(f"its page took more than {PAGE_TIMEOUT:.0f} s")
            self._well()
            return UpstreamResponse(
                body=bytes(body),
                content_type=answer.headers.get("Content-Type", ""),
                url=answer.geturl() or f"{self.url}{project}/",
                etag=answer.headers.get("ETag", ""),
            )

    @contextmanager
    def stream_file(self, url: str) -> Iterator[tuple[int | None, Iterator[bytes]]]:
        """A file's length, where it is told, and its bytes as they come."""
        with self._get(url, {"Accept-Encoding": "identity"}) as answer:
            length = answer.headers.get("Content-Length", "")
            yield (
                int(length) if length.isdigit() else None,
                answer.stream(_CHUNK, decode_content=False),
            )
            self._well()

    def mark_unavailable(self, why: str) -> UpstreamUnavailableError:
        """Note that it is away."""
        if not self.error:
            self.state_since = time.time()
        self.error = why
        self._away_until = time.monotonic() + FAILURE_PAUSE
        return UpstreamUnavailableError(why)

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
        """One request; a kept connection that the other side has closed is tried once more."""
        try:
            try:
                answer = self._send(url, headers)
            except ProtocolError:
                answer = self._send(url, headers)
            try:
                self._check(answer)
                yield answer
            finally:
                # a connection that was read to its end goes back, another is closed
                if answer.closed:
                    answer.release_conn()
                else:
                    answer.close()
        except (HTTPError, OSError) as broken:
            if isinstance(broken, OSError) and broken.filename is not None:
                raise  # of our disk
            raise self.mark_unavailable(f"{type(broken).__name__}: {broken}"[:300]) from broken

    def _send(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        return self._pool(url).request(
            "GET",
            url,
            headers={"User-Agent": _AGENT, **headers},
            preload_content=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
            retries=urllib3.Retry(
                connect=0, read=0, other=0, status=0, redirect=4, raise_on_redirect=True
            ),
        )

    def _check(self, answer: BaseHTTPResponse) -> None:
        status = answer.status
        if status in {200, 304}:
            return
        answer.drain_conn()
        if status in {404, 410}:
            raise NotFoundError(f"the upstream answers {status}")
        if status == 429 or status >= 500:
            raise self.mark_unavailable(f"the upstream answers {status}")
        raise UpstreamResponseError(f"the upstream answers {status}")

    def _well(self) -> None:
        if self.error:
            self.error = ""
            self.state_since = time.time()
        self._away_until = 0.0

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme, "")
        if proxy and proxy_bypass(parts.hostname or ""):
            proxy = ""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str) -> urllib3.PoolManager:
        size = self._connections
        if not proxy:
            return urllib3.PoolManager(maxsize=size, ssl_context=self._context)
        found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        headers = {}
        if found.username:
            words = f"{found.username}:{found.password or ''}"
            headers = dict(make_headers(proxy_basic_auth=words))
        bare = found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()
        return urllib3.ProxyManager(
            bare, maxsize=size, ssl_context=self._context, proxy_headers=headers
        )
