"""Download a file from the mirror and check its hash; the bytes are thrown away."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import urllib3
from urllib3.exceptions import HTTPError

from mirror.http_pool import NO_RETRIES
from mirror.settings import OWN_USER_AGENT

_TIMEOUT = 600.0  # seconds without a byte; the mirror may have to fetch the file first
_CHUNK = 1 << 20
_POOL = urllib3.PoolManager(maxsize=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadCheck:
    """The result of one download.

    ``status`` is the HTTP status, 0 if there was no response; ``size`` in bytes; ``why`` is the
    problem, empty if the file is complete and its hash is right.
    """

    status: int
    size: int = 0
    why: str = ""

    @property
    def ok(self) -> bool:
        return not self.why


def request_mirror(
    url: str, *, accept: str = "*/*", timeout: float = _TIMEOUT
) -> urllib3.BaseHTTPResponse:
    """Send a GET request to the mirror; the body is not read yet. Raises urllib3's HTTPError."""
    headers = {"Accept": accept, "User-Agent": OWN_USER_AGENT}
    return _POOL.request(
        "GET", url, headers=headers, preload_content=False, timeout=timeout, retries=NO_RETRIES
    )


def check_download(url: str, sha256: str) -> DownloadCheck:
    """Read ``url`` to its end and compare its SHA-256, unless that is empty. Never raises."""
    digest = hashlib.sha256()
    size = 0
    try:
        with request_mirror(url) as response:
            if response.status != 200:
                why = f"the mirror responds with status {response.status}"
                return DownloadCheck(status=response.status, why=why)
            for chunk in response.stream(_CHUNK, decode_content=False):
                digest.update(chunk)
                size += len(chunk)
    except (HTTPError, OSError, ValueError) as error:
        return DownloadCheck(status=0, size=size, why=f"{type(error).__name__}: {error}")
    if sha256 and digest.hexdigest() != sha256:
        why = f"wrong bytes: their sha256 is {digest.hexdigest()}, expected {sha256}"
        return DownloadCheck(status=200, size=size, why=why)
    return DownloadCheck(status=200, size=size)
