"""The type of progress callbacks: each call receives one line of text."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]


def ignore_progress(text: str) -> None:
    """Discard a progress message."""
