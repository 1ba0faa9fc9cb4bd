"""HTTP requests with urllib3: pools that follow the environment's proxies, and final URLs.

The environment means what it means to curl, uv and pip: ``no_proxy`` may hold networks, such as
10.0.0.0/8, and ``all_proxy`` is for schemes without a proxy of their own.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import make_headers

from mirror.core.errors import InputError

# redirects are followed
NO_RETRIES = urllib3.Retry(connect=0, read=0, other=0, status=0, redirect=4)


class ProxyPools:
    """One pool for each proxy that the environment (``http_proxy``, ``no_proxy`` …) names.

    A plain ``urllib3.PoolManager`` ignores the environment: use that for the mirror itself, since
    a proxy cannot reach a cluster address. ``connections`` are kept open per host; ``ca_bundle``
    is a PEM file of authorities to trust besides the system's.
    """

    def __init__(self, *, connections: int = 1, ca_bundle: str | None = None) -> None:
        self._context = create_tls_context(ca_bundle)
        self._connections = connections
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def for_url(self, url: str) -> urllib3.PoolManager:
        """Return the pool that reaches a URL."""
        proxy = find_proxy(url)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._create_pool(proxy)
            return self._pools[proxy]

    def _create_pool(self, proxy: str) -> urllib3.PoolManager:
        size = self._connections
        if not proxy:
            return urllib3.PoolManager(maxsize=size, ssl_context=self._context)
        url, credentials = _split_credentials(proxy)
        headers = make_headers(proxy_basic_auth=credentials)
        return urllib3.ProxyManager(
            url, maxsize=size, ssl_context=self._context, proxy_headers=headers
        )


def create_tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Trust the system's authorities and those of a bundle that was named on purpose.

    Company authorities often lack key usage or an authority key identifier, which Python 3.13
    requires by default: with a bundle, that check is off.
    """
    context = ssl.create_default_context()
    if ca_bundle is not None:
        context.load_verify_locations(cafile=ca_bundle)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def find_proxy(url: str) -> str:
    """Return the URL of the proxy that the environment names for a URL, or an empty text.

    Raises InputError if the proxy is not an HTTP proxy.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    key = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(key, "")
    if not proxy or bypasses_proxy(parts.hostname or "", parts.port, proxies.get("no", "")):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme.lower()
    if scheme not in {"http", "https"}:
        raise InputError(
            f"{key}_proxy names a {scheme} proxy, which is not supported",
            why="requests to a package index can use HTTP and HTTPS proxies only",
            next_step=f"set {key}_proxy to an HTTP proxy, or add the index's host to no_proxy",
        )
    return proxy


def check_proxies() -> None:
    """Raise InputError if the environment names a proxy that cannot be used."""
    for scheme in ("http", "https"):
        find_proxy(f"{scheme}://index.invalid/")


def bypasses_proxy(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether ``no_proxy`` lists a host: by name, domain, address, network, with a port."""
    host = host.lower().rstrip(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        name, colon, number = entry.rpartition(":")
        if colon and number.isdecimal() and (":" not in name or name.endswith("]")):
            if int(number) != port:
                continue
            entry = name
        entry = entry.strip("[]")
        if entry == "*" or _contains_address(entry, host):
            return True
        domain = entry.removeprefix("*").strip(".")
        if domain and (host == domain or host.endswith(f".{domain}")):
            return True
    return False


def _contains_address(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


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
