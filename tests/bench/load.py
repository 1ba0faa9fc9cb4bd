"""Run the compiled load client (load.go): build it once, pass it requests, parse its results."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror.settings import SIMPLE_JSON
from tests.cluster.cache import cache_root, digest, hold_lock
from tests.cluster.golang import find_go, go_environment

_SOURCE = Path(__file__).with_name("load.go")
HTML = "text/html"
USER_AGENTS = tuple(
    f"{name}/{major}.{minor} (python 3.{python})"
    for name in ("pip", "uv", "poetry", "pdm", "curl")
    for major, minor, python in ((1, 0, 9), (2, 3, 11), (24, 0, 12), (25, 1, 13), (0, 6, 10))
    for _ in range(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The result of one run. ``seconds`` in all; ``p50``, ``p95`` and ``max`` in milliseconds."""

    requests: int
    wrong: dict[str, int]
    bytes: int
    seconds: float
    p50: float
    p95: float
    max: float


def build_load_client() -> Path:
    """Build the client unless it exists, and return its path."""
    program = cache_root() / f"bench-load-{digest(_SOURCE.read_bytes())}"
    with hold_lock("bench-load"):
        if not program.exists():
            temporary = program.with_suffix(".new")
            subprocess.run(
                [find_go(), "build", "-trimpath", "-o", str(temporary), str(_SOURCE)],
                env=go_environment(),
                check=True,
                timeout=900,
            )
            temporary.rename(program)
    return program


def page_requests(simple: str, names: Sequence[str], accept: str = SIMPLE_JSON) -> list[str]:
    """Return requests for project pages, each with another user agent."""
    return [
        f"{simple}{name}/\t{accept}\t{USER_AGENTS[n % len(USER_AGENTS)]}\t-"
        for n, name in enumerate(names)
    ]


def file_requests(files: Sequence[tuple[str, str]]) -> list[str]:
    """Return requests for files, whose content the client checks."""
    return [
        f"{path}\t*/*\t{USER_AGENTS[n % len(USER_AGENTS)]}\t{sha256}"
        for n, (path, sha256) in enumerate(files)
    ]


def run_load(address: str, requests: Sequence[str], *, clients: int, repeat: int = 1) -> LoadResult:
    """Send all requests ``repeat`` times, over ``clients`` connections."""
    shuffled = list(requests)
    random.Random(clients).shuffle(shuffled)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("\n".join(shuffled))
        file.flush()
        options = ["-address", address, "-clients", str(clients), "-repeat", str(repeat)]
        result = subprocess.run(
            [str(build_load_client()), *options, "-requests", file.name],
            capture_output=True,
            text=True,
            check=True,
            timeout=900,
        )
    return LoadResult(**json.loads(result.stdout))


def measure_ceiling(*, clients: int) -> tuple[float, float]:
    """Return the most the client can do on this machine: requests and bytes per second.

    The server for this costs next to nothing: it sends the same bytes for each request.
    """
    rates = []
    for size, repeat in ((64, 60_000), (4_000_000, 800)):
        server = subprocess.Popen(
            [str(build_load_client()), "-serve", str(size)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            result = run_load(address, ["/\t*/*\tceiling\t-"], clients=clients, repeat=repeat)
            rates.append((result.requests / result.seconds, result.bytes / result.seconds))
        finally:
            server.terminate()
            server.wait(10)
    return rates[0][0], rates[1][1]
