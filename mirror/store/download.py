"""A file asked for at the mirror, read to its end and compared; its bytes are thrown away."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass

_SECONDS = 600.0  # of silence; a cold file comes from upstream
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadCheck:
    """How it went. ``status`` is HTTP's, 0 where there was no answer; ``size`` in bytes."""

    status: int
    size: int = 0
    why: str = ""  # empty: whole, and its hash is right

    @property
    def ok(self) -> bool:
        return not self.why


def build_opener() -> urllib.request.OpenerDirector:
    """Of requests to the mirror: no proxy of the environment stands before a cluster address."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check_download(url: str, sha256: str, *, seconds: float = _SECONDS) -> DownloadCheck:
    """Read ``url`` and compare; ``sha256`` empty compares nothing. Raises nothing."""
    measured = hashlib.sha256()
    size = 0
    try:
        with build_opener().open(url, timeout=seconds) as answer:
            told = answer.headers.get("Content-Length")
            while chunk := answer.read(_CHUNK):
                measured.update(chunk)
                size += len(chunk)
    except urllib.error.HTTPError as refused:
        return DownloadCheck(status=refused.code, why=f"the mirror answers {refused.code}")
    except (OSError, ValueError, http.client.HTTPException) as broken:
        return DownloadCheck(status=0, size=size, why=f"{type(broken).__name__}: {broken}")
    if told is not None and int(told) != size:
        return DownloadCheck(status=200, size=size, why=f"cut off after {size} of {told} bytes")
    if sha256 and measured.hexdigest() != sha256:
        why = f"other bytes than expected: sha256 {measured.hexdigest()}, not {sha256}"
        return DownloadCheck(status=200, size=size, why=why)
    return DownloadCheck(status=200, size=size)
