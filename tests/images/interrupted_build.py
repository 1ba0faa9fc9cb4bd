"""Start a build that stays in one step, and stop it."""

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


def start_build(
    build_env: BuildEnvironment, folder: Path, tag: str, *options: str
) -> subprocess.Popen[str]:
    """Run `build-image` until it is in a step that takes minutes."""
    write_files(folder, {"setup.py": SLOW, "pyproject.toml": PLAIN_PYPROJECT + SETUPTOOLS_BUILD})
    program = shutil.which("build-image")
    assert program
    child = subprocess.Popen(
        (program, str(folder), "--tag", tag, "--base", BASE, *options),
        env={**os.environ, **build_env.env()},
        stderr=subprocess.PIPE,
        text=True,
    )

    def building() -> bool:
        assert child.poll() is None, child.communicate()[1]
        listed = build_env.engine.docker("ps", "--no-trunc", "--format", "{{.Command}}")
        return "/build/cache-project" in listed

    wait_for("a step of the build", building, timeout=180)
    return child


def stop_build(child: subprocess.Popen[str], how: Callable[[], object], *, code: int) -> str:
    """Stop a build, which must end with the exit code; return what it printed."""
    try:
        how()
        output = child.communicate(timeout=60)[1]
    finally:
        child.kill()
        child.wait(10)
    assert child.returncode == code, output
    return output
