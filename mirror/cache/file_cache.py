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

from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import FileSource, PageStore
from mirror.cache.upstream import UpstreamClient

WHOLE_FILE_WAIT = (
    3.0  # seconds a client waits for a whole file; then it gets what is there, as it comes
)
STALL_TIMEOUT = 60.0  # seconds without a byte until a client is let go
HELD_BACK_BYTES = 64 * 1024  # bytes that nobody gets before the hash is right
_WORKERS = 16  # downloads at once
_BLOCK = 256 * 1024


@dataclass(slots=True)
class FileCounters:
    """Since the start."""

    requests: int = 0
    fetched: int = 0
    fetched_bytes: int = 0


class Download:
    """One file under way: how much of it is there, and how it ended."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial: Path | None = None
        self.length: int | None = None
        self.started = False  # the upstream has begun to answer
        self.received = 0
        self.error: Exception | None = None
        self.is_complete = False
        self.changed = threading.Condition()

    @property
    def is_finished(self) -> bool:
        return self.is_complete or self.error is not None

    def wait(self, seconds: float) -> bool:
        """Until it has ended, or for so long. True where it is whole; raises what failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_finished, seconds)
        if self.error is not None:
            raise self.error
        return self.is_complete

    def wait_for_start(self, seconds: float) -> None:
        """Until its length is known. Raises what failed, or UpstreamAway when it is too late."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_finished or self.started, seconds)
        if self.error is not None:
            raise self.error
        if not self.started:
            raise UpstreamUnavailableError(f"no byte of the file within {seconds:.0f} s")

    def iter_blocks(self) -> Iterator[bytes]:
        """Its bytes as they come. The last ones only when the hash is right; else it raises."""
        sent = 0
        with self._open() as content:
            while not (self.is_complete and sent >= self.received):
                end = self._more_than(sent)
                while sent < end:
                    block = content.read(min(_BLOCK, end - sent))
                    sent += len(block)
                    yield block

    def _more_than(self, sent: int) -> int:
        """How many bytes may be sent, once there are more than ``sent`` or all are there."""
        with self.changed:
            moved = self.changed.wait_for(
                lambda: self.is_finished or self.received - HELD_BACK_BYTES > sent, STALL_TIMEOUT
            )
            if self.error is not None:
                raise self.error
            if not moved:
                raise UpstreamUnavailableError("the file has stalled")
            return self.received if self.is_complete else self.received - HELD_BACK_BYTES

    def _open(self) -> BinaryIO:
        assert self.partial is not None
        try:
            return self.partial.open("rb")
        except FileNotFoundError:
            return self.target.open("rb")  # it was renamed a moment ago


class FileCache:
    """The files of one upstream."""

    def __init__(self, shelf: PageStore, upstream: UpstreamClient, pages: PageCache) -> None:
        self.counters = FileCounters()
        self._shelf = shelf
        self._upstream = upstream
        self._pages = pages
        self._flights: dict[Path, Download] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(_WORKERS, "file")

    def get(self, project: str, folder: str, filename: str) -> Path | Download:
        """Where the file lies, or its download, which goes on whether the client stays or not.

        Absent where no page of the upstream names it.
        """
        self.counters.requests += 1
        target = self._shelf.file_path(project, folder, filename)
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
            wanted = self._shelf.find_source(project, folder, filename)
            if wanted is None:
                unkept = self._pages.refresh(project)
                wanted = self._shelf.find_source(project, folder, filename, unkept)
            if wanted is None:
                raise NotFoundError(f"{project} has no such file")
            self._download(flight, wanted)
        except Exception as broken:  # noqa: BLE001 - whoever waits has to be told
            error: Exception = broken
            if not isinstance(broken, NotFoundError | UnavailableError):
                error = UnavailableError(f"{type(broken).__name__}: {broken}")
            self._end(flight, error)
        else:
            self._end(flight, None)

    def _end(self, flight: Download, error: Exception | None) -> None:
        with self._lock:
            self._flights.pop(flight.target, None)
        with flight.changed:
            flight.error = error
            flight.is_complete = error is None
            flight.changed.notify_all()

    def _download(self, flight: Download, wanted: FileSource) -> None:
        partial = self._shelf.new_partial_path()
        digest = hashlib.sha256()
        try:
            with (
                self._upstream.stream_file(wanted.url) as (total, blocks),
                self._place(partial) as out,
            ):
                with flight.changed:
                    flight.partial, flight.length, flight.started = partial, total, True
                    flight.changed.notify_all()
                for block in blocks:
                    with self._on_disk(total or flight.received + len(block)):
                        _write(out, block)
                    digest.update(block)
                    with flight.changed:
                        flight.received += len(block)
                        flight.changed.notify_all()
                with self._on_disk(flight.received):
                    os.fdatasync(out.fileno())
            if total is not None and flight.received != total:
                raise UpstreamResponseError(
                    f"the file ended after {flight.received} of {total} bytes"
                )
            if wanted.sha256 and digest.hexdigest() != wanted.sha256:
                raise UpstreamResponseError(
                    f"the file's sha256 is {digest.hexdigest()}, its page says {wanted.sha256}"
                )
            with self._on_disk(flight.received):
                self._shelf.commit_file(partial, flight.target, digest.hexdigest())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.counters.fetched += 1
        self.counters.fetched_bytes += flight.received

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
            if self._shelf.record_if_full(broken, size):
                raise UnavailableError("No space left on the mirror's volume") from broken
            raise UnavailableError(f"the mirror's volume: {broken}") from broken


def _write(out: FileIO, block: bytes) -> None:
    """All of it: where the room ends, a write may take a part and say so only by its length."""
    rest = memoryview(block)
    while rest:
        rest = rest[out.write(rest) :]
