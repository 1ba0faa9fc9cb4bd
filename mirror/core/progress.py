"""How work reports itself: a protocol, and its silent default. The terminal is cli/output/terminal.py's."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of steps by whoever works; decides alone what a person sees of them."""

    def step(self, text: str) -> None:
        """A new step begins; the one before it is done."""

    def count(self, done: int, total: int, text: str = "") -> None:
        """``done`` of ``total`` units of the current step are finished."""

    def note(self, text: str) -> None:
        """Something worth keeping on the screen."""


class SilentProgress:
    """Says nothing."""

    def step(self, text: str) -> None: ...

    def count(self, done: int, total: int, text: str = "") -> None: ...

    def note(self, text: str) -> None: ...


SILENT = SilentProgress()
