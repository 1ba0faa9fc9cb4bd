"""Whole installs by real programs from a server: seconds, and what they cost the server."""

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
    """Some installs at once: wall seconds of the longest, and the server's CPU seconds in all."""

    program: str
    installs: int
    failed: int
    seconds: float
    cpu: float
    error_output: str  # by the first that failed


def write_requirements(record: Sequence[RecordedProject], folder: Path) -> Path:
    """The lock's wheels, hashed. Sdists are left out: building them is no work of an index."""
    lines = [
        f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n"
        for one in record
        if one.file.suffix == ".whl"
    ]
    path = folder / "wheels.txt"
    path.write_text("".join(lines))
    return path


def measure_installs(
    served: BenchmarkServer, program: str, lock: Path, *, at_once: int = 1
) -> InstallMeasurement:
    """Install the lock into empty folders, without a cache, so many times at once."""
    before = served.cpu_seconds()
    begun = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(lambda _: _one(served, program, lock), range(at_once)))
    seconds = time.monotonic() - begun
    wrong = [one for one in done if one]
    return InstallMeasurement(
        program=program,
        installs=at_once,
        failed=len(wrong),
        seconds=seconds,
        cpu=served.cpu_seconds() - before,
        error_output=wrong[0] if wrong else "",
    )


def _one(served: BenchmarkServer, program: str, lock: Path) -> str:
    """Empty, or what it said when it failed."""
    target = Path(tempfile.mkdtemp(prefix="bench-install-"))
    index = f"http://{served.address}{served.index_path}"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    words = [str(target), "--no-deps", "--require-hashes", "-r", str(lock), "--index-url", index]
    if program == "uv":
        argv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--no-cache"]
        argv += ["--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_36"]
        argv += ["--link-mode", "copy", "--only-binary", ":all:"]
    else:
        argv = [sys.executable, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-compile"]
        argv += ["--python-version", "3.12", "--only-binary", ":all:"]
        argv += ["--disable-pip-version-check"]
        for n in (36, 34, 31, 28, 27, 26, 24, 17, 12, 5):
            argv += ["--platform", f"manylinux_2_{n}_x86_64"]
        argv += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]
    try:
        done = subprocess.run(
            [*argv, "--target", *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr)[-1500:] or "failed"
    finally:
        shutil.rmtree(target, ignore_errors=True)
