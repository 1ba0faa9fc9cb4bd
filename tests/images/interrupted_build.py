"""A build that is in the middle of a step, and its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cluster.waiting import wait_for
from tests.images.projects import (
    BASE,
    PLAIN_PYPROJECT,
    SETUPTOOLS_BUILD,
    BuildEnvironment,
    write_files,
)

SLOW = "import time\nfrom setuptools import setup\n\ntime.sleep(300)\nsetup(name='plain')\n"


def start_build(shop: BuildEnvironment, folder: Path, tag: str) -> subprocess.Popen[str]:
    """`build-image`, in a step that would take long."""
    write_files(folder, {"setup.py": SLOW, "pyproject.toml": PLAIN_PYPROJECT + SETUPTOOLS_BUILD})
    program = shutil.which("build-image")
    assert program
    child = subprocess.Popen(
        (program, str(folder), "--tag", tag, "--base", BASE),
        env={**os.environ, **shop.env()},
        stderr=subprocess.PIPE,
        text=True,
    )

    def building() -> bool:
        assert child.poll() is None, child.communicate()[1]
        listed = shop.engine.docker("ps", "--no-trunc", "--format", "{{.Command}}")
        return "/build/cache-project" in listed

    wait_for("a step of the build", building, timeout=180)
    return child


def stop_build(child: subprocess.Popen[str], how: Callable[[], object], *, code: int) -> str:
    """What it said before it ended with this code."""
    try:
        how()
        said = child.communicate(timeout=60)[1]
    finally:
        child.kill()
        child.wait(10)
    assert child.returncode == code, said
    return said
