"""How long operations report progress: the interface, and an implementation that prints nothing.

The command line's implementation is in cli/output/terminal.py.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the steps of an operation, and decides how to show them."""

    def step(self, text: str) -> None:
        """Begin a step; the previous one is done."""

    def count(self, done: int, total: int, text: str = "") -> None:
        """Report that ``done`` of ``total`` units of the current step are finished."""

    def note(self, text: str) -> None:
        """Report a line that stays on the screen."""


class SilentProgress:
    """Shows nothing."""

    def step(self, text: str) -> None: ...

    def count(self, done: int, total: int, text: str = "") -> None: ...

    def note(self, text: str) -> None: ...


SILENT = SilentProgress()
