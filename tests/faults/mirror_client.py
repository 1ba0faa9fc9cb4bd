"""What clients ask of a mirror, and what time does to its pages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from tests.faults.faulty_upstream import SIMPLE_JSON
from tests.local.mirror_home import MirrorHome

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MirrorClient:
    """A mirror as its clients see it."""

    home: MirrorHome

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.home.port}"

    @property
    def cache_dir(self) -> Path:
        return self.home.root / "data/pypi-mirror/public"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        sent = {"Accept": SIMPLE_JSON, **(headers or {})}
        return httpx.get(f"{self.root}{path}", headers=sent, timeout=90, trust_env=False)

    def get_page(self, project: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.get(f"/workloads/stable/+simple/{project}/", headers)

    def find_file_path(self, project: str, number: int = 0) -> str:
        """The path of a file that the project's page names."""
        page = self.get_page(project).raise_for_status()
        return page.url.join(page.json()["files"][number]["url"]).path

    def expire_pages(self, seconds: float = 3600) -> None:
        """As if the pages had been fetched so long ago."""
        then = time.time() - seconds
        for path in (self.cache_dir / "links").iterdir():
            os.utime(path, (then, then))
        for path in (self.cache_dir / "fresh").iterdir():
            path.unlink()

    def list_cached_files(self, project: str) -> list[str]:
        """Names of the files of a project that are on the volume."""
        folder = self.cache_dir / "files" / project
        return sorted(path.name for path in folder.rglob("*") if path.is_file())


def run_concurrently(ask: Callable[[int], T], clients: int) -> list[T]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(clients)))


def measure_seconds(ask: Callable[[], Sequence[T]]) -> tuple[float, Sequence[T]]:
    begun = time.monotonic()
    got = ask()
    return time.monotonic() - begun, got


def wait_seconds_until(look: Callable[[], bool], limit: float) -> float:
    """How long it took to come true; fails after the limit."""
    begun = time.monotonic()
    while not look():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(0.5)
    return time.monotonic() - begun
