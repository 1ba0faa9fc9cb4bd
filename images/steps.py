"""During which step of a Dockerfile something else than the mirror was called."""

from __future__ import annotations

from collections.abc import Sequence

from images.jail import Attempt, Jail
from mirror.core.progress import Progress


class Steps:
    """Progress that knows during which step of the Dockerfile something else was called."""

    def __init__(self, progress: Progress, watched: Jail) -> None:
        self._progress, self._jail = progress, watched
        self._step, self._seen = "", 0
        self.found: list[tuple[str, Attempt]] = []

    def step(self, text: str) -> None:
        self._progress.step(text)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def count(self, done: int, total: int, text: str = "") -> None:
        self.look()
        self._step = text
        self._progress.count(done, total, text)

    def look(self) -> None:
        tried = self._jail.tried()
        self.found += [(self._step, one) for one in tried[self._seen :]]
        self._seen = len(tried)


def told(tried: Sequence[Attempt]) -> str:
    hosts = dict.fromkeys(f"{one.host}:{one.port}" if one.port else one.host for one in tried)
    return "it tried to reach " + ", ".join(list(hosts)[:10])
