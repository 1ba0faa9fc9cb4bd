"""The cache of public indexes by itself, asked as nginx asks it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from mirror import devpi
from mirror.cache.request_log import RequestLog
from mirror.cache.scrubber import Scrubber
from mirror.cache.server import CacheServer
from mirror.cache.service import CacheService
from mirror.cache.upstream import UpstreamClient
from mirror.cache.upstream_metrics import UpstreamMetrics
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from mirror.policy import Policy
from mirror.settings import DEFAULT_UPSTREAM, SIMPLE_JSON


@dataclass(frozen=True, slots=True)
class CacheClient:
    """A client of a cache that listens on a loopback port and has its files below ``root``."""

    root: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fetch_sha256(self, project: str) -> str:
        """Return the SHA-256 of the project's only file, which the cache fetches if needed."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=60) as client:
            headers = {"Accept": SIMPLE_JSON}
            page = client.get(f"/workloads/stable/+simple/{project}/", headers=headers)
            (file,) = json.loads(self.read_body(page))["files"]
            response = client.get("/" + file["url"].lstrip("./"))
            return hashlib.sha256(self.read_body(response)).hexdigest()

    def read_status(self) -> Any:
        """Return the JSON of /+mirror/status."""
        response = httpx.get(f"{self.url}/+mirror/status", trust_env=False, timeout=60)
        return response.raise_for_status().json()

    def is_healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        return False

    def read_body(self, response: httpx.Response) -> bytes:
        """Return what nginx would send: the stored file that the answer names, or the answer."""
        response.raise_for_status()
        redirect = str(response.headers.get("X-Accel-Redirect", ""))
        if not redirect:
            return bytes(response.content)
        return (self.root / unquote(redirect.removeprefix("/+held/"))).read_bytes()


@contextmanager
def run_cache(
    root: Path,
    upstream_url: str | Mapping[str, str],
    scrubber: Scrubber,
    request_log: RequestLog | None = None,
    *,
    pins: Mapping[str, str] | None = None,
    policy: Policy | None = None,
) -> Iterator[CacheClient]:
    """Run the cache in a thread of this process for the length of a block.

    ``upstream_url`` may be several by their names.
    """
    urls = {DEFAULT_UPSTREAM: upstream_url} if isinstance(upstream_url, str) else upstream_url
    ports: queue.Queue[int] = queue.Queue()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        metrics = UpstreamMetrics()
        clients = [UpstreamClient(url, name=n, metrics=metrics) for n, url in urls.items()]
        service = CacheService(root, clients, scrubber, request_log, pins=pins, policy=policy)
        server = CacheServer(service, 0)
        await server.start()
        ports.put(server.port)
        await stopped.wait()
        await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    yield CacheClient(root, ports.get(timeout=20))
    loop.call_soon_threadsafe(stopped.set)
    thread.join(20)
    loop.close()


class CacheProcess:
    """`python3 -m mirror.cache`, which can be killed and started again."""

    def __init__(self, root: Path, upstream_url: str) -> None:
        self.client = CacheClient(root, find_free_port())
        self._argv = devpi.build_cache_argv(
            sys.executable,
            root=root,
            port=self.client.port,
            upstream=upstream_url,
            ca_bundle=None,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; return when it answers."""
        self._process = subprocess.Popen(
            self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.client.is_healthy, deadline=Deadline.after(60), what="the cache answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
