"""Files: downloaded once for whoever asks; in their place only if their hash is right."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from mirror.public.errors import Absent, Unavailable, UpstreamAway, UpstreamRefused
from mirror.public.pages import Pages
from mirror.public.shelf import Shelf, Wanted
from mirror.public.upstream import Upstream

SOON = 3.0  # seconds a client waits for a whole file; then it gets what is there, as it comes
QUIET = 60.0  # seconds without a byte until a client is let go
HOLD = 64 * 1024  # bytes that nobody gets before the hash is right
_WORKERS = 16  # downloads at once
_BLOCK = 256 * 1024


@dataclass(slots=True)
class Counters:
    """Since the start."""

    asked: int = 0
    fetched: int = 0
    bytes: int = 0


class Download:
    """One file under way: how much of it is there, and how it ended."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial: Path | None = None
        self.total: int | None = None
        self.started = False  # the upstream has begun to answer
        self.done = 0
        self.error: Exception | None = None
        self.whole = False
        self.changed = threading.Condition()

    @property
    def ended(self) -> bool:
        return self.whole or self.error is not None

    def wait(self, seconds: float) -> bool:
        """Until it has ended, or for so long. True where it is whole; raises what failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended, seconds)
        if self.error is not None:
            raise self.error
        return self.whole

    def wait_for_begin(self, seconds: float) -> None:
        """Until its length is known. Raises what failed, or UpstreamAway when it is too late."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or self.started, seconds)
        if self.error is not None:
            raise self.error
        if not self.started:
            raise UpstreamAway(f"no byte of the file within {seconds:.0f} s")

    def blocks(self) -> Iterator[bytes]:
        """Its bytes as they come. The last ones only when the hash is right; else it raises."""
        sent = 0
        with self._open() as content:
            while not (self.whole and sent >= self.done):
                end = self._more_than(sent)
                while sent < end:
                    block = content.read(min(_BLOCK, end - sent))
                    sent += len(block)
                    yield block

    def _more_than(self, sent: int) -> int:
        """How many bytes may be sent, once there are more than ``sent`` or all are there."""
        with self.changed:
            moved = self.changed.wait_for(lambda: self.ended or self.done - HOLD > sent, QUIET)
            if self.error is not None:
                raise self.error
            if not moved:
                raise UpstreamAway("the file has stalled")
            return self.done if self.whole else self.done - HOLD

    def _open(self) -> BinaryIO:
        assert self.partial is not None
        try:
            return self.partial.open("rb")
        except FileNotFoundError:
            return self.target.open("rb")  # it was renamed a moment ago


class Files:
    """The files of one upstream."""

    def __init__(self, shelf: Shelf, upstream: Upstream, pages: Pages) -> None:
        self.counters = Counters()
        self._shelf = shelf
        self._upstream = upstream
        self._pages = pages
        self._flights: dict[Path, Download] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(_WORKERS, "file")

    def ask(self, project: str, folder: str, filename: str) -> Path | Download:
        """Where the file lies, or its download, which goes on whether the client stays or not.

        Absent where no page of the upstream names it.
        """
        self.counters.asked += 1
        target = self._shelf.file(project, folder, filename)
        with self._lock:
            if target.exists():
                return target
            flight = self._flights.get(target)
            if flight is None:
                flight = self._flights[target] = Download(target)
                self._workers.submit(self._run, flight, project, folder, filename)
            return flight

    def _run(self, flight: Download, project: str, folder: str, filename: str) -> None:
        try:
            wanted = self._shelf.wanted(project, folder, filename)
            if wanted is None:
                unkept = self._pages.refresh(project)
                wanted = self._shelf.wanted(project, folder, filename, unkept)
            if wanted is None:
                raise Absent(f"{project} has no such file")
            self._download(flight, wanted)
        except Exception as broken:  # noqa: BLE001 - whoever waits has to be told
            error: Exception = broken
            if not isinstance(broken, Absent | Unavailable):
                error = Unavailable(f"{type(broken).__name__}: {broken}")
            self._end(flight, error)
        else:
            self._end(flight, None)

    def _end(self, flight: Download, error: Exception | None) -> None:
        with self._lock:
            self._flights.pop(flight.target, None)
        with flight.changed:
            flight.error = error
            flight.whole = error is None
            flight.changed.notify_all()

    def _download(self, flight: Download, wanted: Wanted) -> None:
        partial = self._shelf.begin()
        digest = hashlib.sha256()
        try:
            with self._upstream.file(wanted.url) as (total, blocks), self._place(partial) as out:
                with flight.changed:
                    flight.partial, flight.total, flight.started = partial, total, True
                    flight.changed.notify_all()
                for block in blocks:
                    with self._on_disk(total or flight.done + len(block)):
                        _write(out, block)
                    digest.update(block)
                    with flight.changed:
                        flight.done += len(block)
                        flight.changed.notify_all()
                with self._on_disk(flight.done):
                    os.fdatasync(out.fileno())
            if total is not None and flight.done != total:
                raise UpstreamRefused(f"the file ended after {flight.done} of {total} bytes")
            if wanted.sha256 and digest.hexdigest() != wanted.sha256:
                raise UpstreamRefused(
                    f"the file's sha256 is {digest.hexdigest()}, its page says {wanted.sha256}"
                )
            with self._on_disk(flight.done):
                self._shelf.finish(partial, flight.target, digest.hexdigest())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.counters.fetched += 1
        self.counters.bytes += flight.done

    @contextmanager
    def _place(self, partial: Path) -> Iterator[FileIO]:
        with self._on_disk(0):
            out = FileIO(partial, "wb")
        with out:
            yield out

    @contextmanager
    def _on_disk(self, size: int) -> Iterator[None]:
        """What our disk refuses is not the upstream's fault; ``size`` is what had to find room."""
        try:
            yield
        except OSError as broken:
            if self._shelf.is_full(broken, size):
                raise Unavailable("No space left on the mirror's volume") from broken
            raise Unavailable(f"the mirror's volume: {broken}") from broken


def _write(out: FileIO, block: bytes) -> None:
    """All of it: where the room ends, a write may take a part and say so only by its length."""
    rest = memoryview(block)
    while rest:
        rest = rest[out.write(rest) :]
