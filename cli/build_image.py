"""The console script `build-image`."""

from __future__ import annotations

from typing import NoReturn

from cli import edge
from cli.commands.image import build_image


def main() -> NoReturn:
    """Entry point."""
    edge.run(build_image, "build-image")
