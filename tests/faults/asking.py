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

from tests.faults.unwell import JSON
from tests.local.place import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A mirror as its clients see it."""

    place: Place

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.place.port}"

    @property
    def public(self) -> Path:
        return self.place.root / "data/pypi-mirror/public"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        sent = {"Accept": JSON, **(headers or {})}
        return httpx.get(f"{self.root}{path}", headers=sent, timeout=90, trust_env=False)

    def page(self, project: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.get(f"/workloads/stable/+simple/{project}/", headers)

    def link(self, project: str, number: int = 0) -> str:
        """The path of a file that the project's page names."""
        page = self.page(project).raise_for_status()
        return page.url.join(page.json()["files"][number]["url"]).path

    def age(self, seconds: float = 3600) -> None:
        """As if the pages had been fetched so long ago."""
        then = time.time() - seconds
        for path in (self.public / "links").iterdir():
            os.utime(path, (then, then))
        for path in (self.public / "fresh").iterdir():
            path.unlink()

    def kept(self, project: str) -> list[str]:
        """Names of the files of a project that are on the volume."""
        folder = self.public / "files" / project
        return sorted(path.name for path in folder.rglob("*") if path.is_file())


def at_once(ask: Callable[[int], T], clients: int) -> list[T]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, range(clients)))


def timed(ask: Callable[[], Sequence[T]]) -> tuple[float, Sequence[T]]:
    begun = time.monotonic()
    got = ask()
    return time.monotonic() - begun, got


def seconds_until(look: Callable[[], bool], limit: float) -> float:
    """How long it took to come true; fails after the limit."""
    begun = time.monotonic()
    while not look():
        assert time.monotonic() - begun < limit, f"not within {limit} s"
        time.sleep(0.5)
    return time.monotonic() - begun
