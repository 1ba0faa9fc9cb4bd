"""Build the sdist and the wheel, as a release does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import REPOSITORY


def build_distributions(folder: Path) -> tuple[Path, Path]:
    """Build the sdist from this tree and the wheel from the sdist; return both files."""
    # this interpreter: uv would use the .venv of the README's set-up, which has no hatchling
    build = ("uv", "build", "-q", "--no-build-isolation", "--python", sys.executable)
    argv = [*build, "--out-dir", str(folder), str(REPOSITORY)]
    subprocess.run(argv, timeout=120, check=True)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel
