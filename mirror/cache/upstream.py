"""HTTP client of the upstream index: requests with time limits, and whether the upstream works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

from mirror.cache.errors import NotFoundError, UpstreamResponseError, UpstreamUnavailableError
from mirror.http_pool import NO_RETRIES, ProxyPools, final_url
from mirror.settings import SIMPLE_JSON

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 15.0  # seconds without a byte
PAGE_TIMEOUT = 40.0  # seconds for a whole page
MAX_PAGE_BYTES = 48 * 1024**2  # the largest pages of public indexes have about 15 MB
FAILURE_PAUSE = 5.0  # seconds after a failure in which stored pages are served without a request
ACCEPT = f"{SIMPLE_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_CHUNK = 256 * 1024  # bytes
_USER_AGENT = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamResponse:
    """A project page as the upstream sent it; ``body`` None if the stored page is current."""

    body: bytes | None
    content_type: str
    url: str  # after redirects: the base of relative links
    etag: str


class UpstreamClient:
    """Client of one upstream, given by the URL of its simple index. Thread-safe."""

    def __init__(self, url: str, *, connections: int, ca_bundle: str | None = None) -> None:
        self.url = url.rstrip("/") + "/"
        self.state_since = time.time()
        self.error = ""  # why the upstream is unavailable; empty while it works
        self._pools = ProxyPools(connections=connections, ca_bundle=ca_bundle)
        self._unavailable_until = 0.0

    @property
    def is_unavailable(self) -> bool:
        """Whether a request failed less than FAILURE_PAUSE seconds ago."""
        return time.monotonic() < self._unavailable_until

    def fetch_page(self, project: str, etag: str) -> UpstreamResponse:
        """Request a page unless it has this ETag. Raises NotFoundError, UnavailableError."""
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if etag:
            headers["If-None-Match"] = etag
        url = f"{self.url}{project}/"
        end = time.monotonic() + PAGE_TIMEOUT
        with self._get(url, headers) as response:
            if response.status == 304:
                self._mark_available()
                return UpstreamResponse(body=None, content_type="", url="", etag=etag)
            body = bytearray()
            for chunk in response.stream(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise UpstreamResponseError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
                if time.monotonic() > end:
                    raise self.mark_unavailable(f"its page took more than {PAGE_TIMEOUT:.0f} s")
            self._mark_available()
            return UpstreamResponse(
                body=bytes(body),
                content_type=response.headers.get("Content-Type", ""),
                url=final_url(response, url),
                etag=response.headers.get("ETag", ""),
            )

    @contextmanager
    def stream_file(self, url: str) -> Iterator[tuple[int | None, Iterator[bytes]]]:
        """Request a file; yields its length, None if unknown, and its bytes as they arrive."""
        with self._get(url, {"Accept-Encoding": "identity"}) as response:
            length = response.headers.get("Content-Length", "")
            yield (
                int(length) if length.isdigit() else None,
                response.stream(_CHUNK, decode_content=False),
            )
            self._mark_available()

    def mark_unavailable(self, why: str) -> UpstreamUnavailableError:
        """Record that the upstream fails; returns the error to raise."""
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

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
        """Send one request; retry once if the upstream has closed a kept connection."""
        try:
            try:
                response = self._send(url, headers)
            except ProtocolError:
                response = self._send(url, headers)
            try:
                self._check_status(response)
                yield response
            finally:
                # a connection that was read to its end returns to the pool, others are closed
                if response.closed:
                    response.release_conn()
                else:
                    response.close()
        except (HTTPError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # an error of our disk
            raise self.mark_unavailable(f"{type(error).__name__}: {error}"[:300]) from error

    def _send(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        return self._pools.for_url(url).request(
            "GET",
            url,
            headers={"User-Agent": _USER_AGENT, **headers},
            preload_content=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT),
            retries=NO_RETRIES,
        )

    def _check_status(self, response: BaseHTTPResponse) -> None:
        status = response.status
        if status in {200, 304}:
            return
        response.drain_conn()
        if status in {404, 410}:
            raise NotFoundError(f"the upstream responds with status {status}")
        if status == 429 or status >= 500:
            raise self.mark_unavailable(f"the upstream responds with status {status}")
        raise UpstreamResponseError(f"the upstream responds with status {status}")
