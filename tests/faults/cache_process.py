"""The cache of public indexes by itself, asked as nginx asks it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from mirror import devpi
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from mirror.settings import SIMPLE_JSON


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
            (file,) = json.loads(self._read_body(page))["files"]
            response = client.get("/" + file["url"].lstrip("./"))
            return hashlib.sha256(self._read_body(response)).hexdigest()

    def read_status(self) -> Any:
        """Return the JSON of /+mirror/status."""
        response = httpx.get(f"{self.url}/+mirror/status", trust_env=False, timeout=60)
        return response.raise_for_status().json()

    def is_healthy(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        return False

    def _read_body(self, response: httpx.Response) -> bytes:
        """Return what nginx would send: the stored file that the answer names, or the answer."""
        response.raise_for_status()
        redirect = str(response.headers.get("X-Accel-Redirect", ""))
        if not redirect:
            return bytes(response.content)
        return (self.root / redirect.removeprefix("/+held/")).read_bytes()


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
