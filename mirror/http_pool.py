"""HTTP requests with urllib3: pools that follow the environment's proxies, and final URLs."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import make_headers

# redirects are followed
NO_RETRIES = urllib3.Retry(connect=0, read=0, other=0, status=0, redirect=4)


class ProxyPools:
    """One pool for each proxy that the environment (``http_proxy``, ``no_proxy`` …) names.

    A plain ``urllib3.PoolManager`` ignores the environment: use that for the mirror itself, since
    a proxy cannot reach a cluster address. ``connections`` are kept open per host; ``ca_bundle``
    is a PEM file of the authorities to trust, None for the system's.
    """

    def __init__(self, *, connections: int = 1, ca_bundle: str | None = None) -> None:
        self._context = ssl.create_default_context(cafile=ca_bundle)
        self._connections = connections
        self._proxies = getproxies()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def for_url(self, url: str) -> urllib3.PoolManager:
        """Return the pool that reaches a URL."""
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme, "")
        if proxy and proxy_bypass(parts.hostname or ""):
            proxy = ""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._create_pool(proxy)
            return self._pools[proxy]

    def _create_pool(self, proxy: str) -> urllib3.PoolManager:
        size = self._connections
        if not proxy:
            return urllib3.PoolManager(maxsize=size, ssl_context=self._context)
        url, credentials = _split_credentials(proxy if "://" in proxy else f"http://{proxy}")
        headers = make_headers(proxy_basic_auth=credentials)
        return urllib3.ProxyManager(
            url, maxsize=size, ssl_context=self._context, proxy_headers=headers
        )


@contextmanager
def open_url(url: str, *, timeout: float) -> Iterator[BaseHTTPResponse]:
    """Send a GET request with the URL's credentials. Raises HTTPError unless the status is 200."""
    target, credentials = _split_credentials(url)
    with (
        ProxyPools()
        .for_url(url)
        .request(
            "GET",
            target,
            headers={"Accept-Encoding": "identity", **make_headers(basic_auth=credentials)},
            preload_content=False,
            timeout=timeout,
            retries=NO_RETRIES,
        ) as response
    ):
        if response.status != 200:
            raise HTTPError(f"the server responds with status {response.status}")
        yield response


def _split_credentials(url: str) -> tuple[str, str | None]:
    """Return a URL without credentials, and these as user:password; None if it has none."""
    parts = urlsplit(url)
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, credentials if parts.username else None


def final_url(response: BaseHTTPResponse, url: str) -> str:
    """Return the absolute URL after redirects; urllib3's ``geturl`` may return a relative one."""
    for step in response.retries.history if response.retries else ():
        url = urljoin(url, step.redirect_location or "")
    return url
