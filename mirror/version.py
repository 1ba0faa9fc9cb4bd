"""The version of this program."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def read_version() -> str:
    """Return the version of the installed distribution, else of the source tree."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("pypi-mirror")
    with suppress(OSError):
        return str(tomllib.loads(_PYPROJECT.read_text())["project"]["version"])
    return "unknown"
