"""The console script `build-image`."""

from __future__ import annotations

from typing import NoReturn

from cli import errors
from cli.commands.build_image import build_image


def main() -> NoReturn:
    """Entry point."""
    errors.run(build_image, "build-image")
