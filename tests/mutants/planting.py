"""Plant a fault in a copy of the repository, and run tests on it."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests import REPOSITORY
from tests.mutants.operators import Fault

# beyond a multiple of what the tests take without a fault: a loop that never ends
_TIMEOUT_FACTOR = 5
_TIMEOUT_SECONDS = 60.0
# imported once: every run of tests is a fork of this process
_SLOW_IMPORTS = (
    "docker",
    "hypothesis",
    "httpx",
    "kubernetes",
    "pytest_httpserver",
    "rich.console",
    "ruamel.yaml",
    "yaml",
)


@dataclass(frozen=True)
class PlantedFault:
    """A fault, and whether the tests noticed it."""

    path: str
    fault: Fault
    outcome: str  # caught, survived, uncovered
    tests: int  # how many cover the line
    seconds: float
    diff: str


def list_repository_files(root: Path) -> list[str]:
    """Return the tracked files, and the new ones that are not ignored."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(argv, cwd=root, capture_output=True, timeout=60, check=True)
    names = sorted({name for name in result.stdout.decode().split("\0") if name})
    return [name for name in names if (root / name).is_file()]


def copy_files(root: Path, copy: Path, files: list[str]) -> None:
    """Copy the files of a repository; the copy is a repository too, because tests ask git."""
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, copy / name, follow_symlinks=False)
    for argv in (["git", "init", "-q"], ["git", "add", "--all"]):
        subprocess.run(argv, cwd=copy, timeout=60, check=True)


class Planter:
    """Plants faults in a copy of the repository, one at a time, and runs tests on it."""

    def __init__(self, copy: Path) -> None:
        self._copy = copy
        self._plants = 0
        for name in _SLOW_IMPORTS:
            importlib.import_module(name)

    def plant_and_test(
        self, path: str, fault: Fault, tests: list[str], seconds: float
    ) -> PlantedFault:
        """Plant a fault in the copy, run the tests until one fails, and remove the fault.

        seconds: what the tests take without the fault
        """
        file = self._copy / path
        source, times = file.read_bytes(), file.stat()
        planted = fault.plant(source)
        started = time.monotonic()
        try:
            file.write_bytes(planted)
            # byte code is valid for a size and a time in seconds: none for two faults
            self._plants += 1
            os.utime(file, (self._plants, self._plants))
            outcome = "uncovered"
            if tests:
                outcome = "caught" if self._fails(tests, seconds) else "survived"
        finally:
            file.write_bytes(source)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        diff = difflib.unified_diff(
            source.decode().splitlines(keepends=True),
            planted.decode().splitlines(keepends=True),
            f"a/{path}",
            f"b/{path}",
            n=1,
        )
        spent = time.monotonic() - started
        return PlantedFault(path, fault, outcome, len(tests), spent, "".join(diff))

    def _fails(self, tests: list[str], seconds: float) -> bool:
        """Run tests in a child; say whether one failed, or did not end."""
        child = os.fork()
        if child == 0:
            os.setsid()
            _run_tests(self._copy, tests)
        deadline = time.monotonic() + _TIMEOUT_SECONDS + _TIMEOUT_FACTOR * seconds
        ended = 0
        while not ended and time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended:
                time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and programs that it started
        if not ended:
            os.waitpid(child, 0)
        return not ended or status != 0


def _run_tests(copy: Path, tests: list[str]) -> NoReturn:
    """Run tests of the copy in this process, and end it with pytest's exit code."""
    code = 99
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)  # for programs that tests start
        sys.path[:] = [str(copy), *(path for path in sys.path if path != str(REPOSITORY))]
        for name in list(sys.modules):
            if name.partition(".")[0] in {"tests", "cli", "deploy", "images", "mirror"}:
                del sys.modules[name]
        arguments = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no"]
        code = pytest.main([*arguments, "--no-header", "--disable-warnings", *tests])
    finally:
        os._exit(code)
