"""Install a whole lock with uv and pip from a server; measure the time and the server's CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.recorded_index import RecordedProject
from tests.bench.servers import BenchmarkServer

PROGRAMS = ("uv", "pip")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallMeasurement:
    """Concurrent installs: wall-clock seconds until the last ended, CPU seconds of the server."""

    program: str
    installs: int
    failed: int
    seconds: float
    cpu: float
    error_output: str  # of the first that failed


def write_requirements(record: Sequence[RecordedProject], folder: Path) -> Path:
    """Write requirements with the hashes of the lock's wheels.

    Sdists are left out: to build them is not the work of an index.
    """
    lines = [
        f"{project.name}=={project.version} --hash=sha256:{project.sha256}\n"
        for project in record
        if project.file.suffix == ".whl"
    ]
    path = folder / "wheels.txt"
    path.write_text("".join(lines))
    return path


def measure_installs(
    server: BenchmarkServer, program: str, lock: Path, *, concurrency: int = 1
) -> InstallMeasurement:
    """Install the lock into empty directories, without a cache, ``concurrency`` times at once."""
    cpu_before = server.cpu_seconds()
    start = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        outputs = list(pool.map(lambda _: _install(server, program, lock), range(concurrency)))
    seconds = time.monotonic() - start
    failures = [output for output in outputs if output]
    return InstallMeasurement(
        program=program,
        installs=concurrency,
        failed=len(failures),
        seconds=seconds,
        cpu=server.cpu_seconds() - cpu_before,
        error_output=failures[0] if failures else "",
    )


def _install(server: BenchmarkServer, program: str, lock: Path) -> str:
    """Install the lock once. Returns nothing, or the output of a failed install."""
    target = Path(tempfile.mkdtemp(prefix="bench-install-"))
    index = f"http://{server.address}{server.index_path}"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    options = [str(target), "--no-deps", "--require-hashes", "-r", str(lock), "--index-url", index]
    if program == "uv":
        argv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--no-cache"]
        argv += ["--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_36"]
        argv += ["--link-mode", "copy", "--only-binary", ":all:"]
    else:
        argv = [sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-compile"]
        argv += ["--python-version", "3.12", "--only-binary", ":all:"]
        argv += ["--disable-pip-version-check"]
        for minor in (36, 34, 31, 28, 27, 26, 24, 17, 12, 5):
            argv += ["--platform", f"manylinux_2_{minor}_x86_64"]
        argv += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]
    try:
        result = subprocess.run(
            [*argv, "--target", *options],
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return "" if result.returncode == 0 else (result.stdout + result.stderr)[-1500:] or "failed"
    finally:
        shutil.rmtree(target, ignore_errors=True)
