"""Request pages and files of a mirror as pods do, and look at what it has cached."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from mirror.settings import SIMPLE_JSON
from tests.local.mirror_home import MirrorHome

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MirrorClient:
    """A client of the local mirror of a ``MirrorHome``."""

    home: MirrorHome

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.home.port}"

    @property
    def cache_dir(self) -> Path:
        return self.home.root / "data/pypi-mirror/public"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return httpx.get(
            f"{self.root}{path}",
            headers={"Accept": SIMPLE_JSON, **(headers or {})},
            timeout=90,
            trust_env=False,
        )

    def get_page(self, project: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.get(f"/workloads/stable/+simple/{project}/", headers)

    def find_file_path(self, project: str, number: int = 0) -> str:
        """Return the URL path of a file that the project's page lists."""
        page = self.get_page(project).raise_for_status()
        return page.url.join(page.json()["files"][number]["url"]).path

    def download_sha256(self, path: str) -> str:
        """Return the SHA-256 of a downloaded file. Raises httpx.HTTPError unless it is whole."""
        return hashlib.sha256(self.get(path).raise_for_status().content).hexdigest()

    def expire_pages(self, seconds: float = 3600) -> None:
        """Make all cached pages look as if they had been fetched ``seconds`` ago."""
        fetched_at = time.time() - seconds
        for path in (self.cache_dir / "links").iterdir():
            os.utime(path, (fetched_at, fetched_at))
        for path in (self.cache_dir / "fresh").iterdir():
            path.unlink()

    def list_cached_files(self, project: str) -> list[str]:
        """Return the names of a project's files on the volume."""
        folder = self.cache_dir / "files" / project
        return sorted(path.name for path in folder.rglob("*") if path.is_file())


def run_concurrently(request: Callable[[int], T], clients: int) -> list[T]:
    """Call ``request`` with 0, 1, … in as many threads; return the results in order."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(request, range(clients)))


def measure_seconds(request: Callable[[], Sequence[T]]) -> tuple[float, Sequence[T]]:
    """Return the duration of a call and its result."""
    start = time.monotonic()
    result = request()
    return time.monotonic() - start, result


def wait_seconds_until(condition: Callable[[], bool], limit: float) -> float:
    """Wait for a condition and return how long it took. Fails after ``limit`` seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, f"not within {limit} s"
        time.sleep(0.5)
    return time.monotonic() - start
