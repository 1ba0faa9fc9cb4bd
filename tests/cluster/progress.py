"""How the lab tells what it is doing: one line of text at a time."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]


def ignore_progress(text: str) -> None:
    """Progress that nobody wants to see."""
