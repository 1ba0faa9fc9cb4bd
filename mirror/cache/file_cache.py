"""Files: one download for all clients, renamed into place only if the hash is right."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

WHOLE_FILE_WAIT = 3.0  # seconds a client waits for the whole file before it gets a stream
STALL_TIMEOUT = 60.0  # seconds without a byte after which a stream ends
HELD_BACK_BYTES = 64 * 1024  # no client gets the last bytes before the hash is checked
_WORKERS = 16  # downloads at once
_BLOCK = 256 * 1024


class Download:
    """A running download that several threads can wait for and read."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial: Path | None = None
        self.length: int | None = None  # None if the upstream does not say
        self.started = False  # the upstream has begun to respond
        self.received = 0
        self.error: Exception | None = None
        self.is_complete = False
        self.changed = threading.Condition()

    @property
    def is_finished(self) -> bool:
        return self.is_complete or self.error is not None

    def wait(self, seconds: float) -> bool:
        """Wait for the end; returns whether the file is complete, raises the download's error."""
        return self._wait_for(lambda: False, seconds)

    def wait_for_start(self, seconds: float) -> None:
        """Wait until the length is known; raises the download's error, or one on a timeout."""
        if not self._wait_for(lambda: self.started, seconds):
            raise UpstreamUnavailableError(f"no byte of the file within {seconds:.0f} s")

    def iter_blocks(self) -> Iterator[bytes]:
        """Yield the bytes as they arrive; the last ones only if the hash is right, else raise."""
        sent = 0
        with self._open() as content:
            while not (self.is_complete and sent >= self.received):
                end = self._wait_for_more(sent)
                while sent < end:
                    block = content.read(min(_BLOCK, end - sent))
                    sent += len(block)
                    yield block

    def _wait_for_more(self, sent: int) -> int:
        """Wait until more than ``sent`` bytes, or all, may be sent; returns how many."""
        if not self._wait_for(lambda: self.received - HELD_BACK_BYTES > sent, STALL_TIMEOUT):
            raise UpstreamUnavailableError(f"no byte of the file for {STALL_TIMEOUT:.0f} s")
        with self.changed:
            return self.received if self.is_complete else self.received - HELD_BACK_BYTES

    def _wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition or the end; False after a timeout. Raises the download's error."""
        with self.changed:
            is_met = self.changed.wait_for(lambda: self.is_finished or condition(), seconds)
            if self.error is not None:
                raise self.error
            return is_met

    def _open(self) -> BinaryIO:
        assert self.partial is not None
        try:
            return self.partial.open("rb")
        except FileNotFoundError:
            return self.target.open("rb")  # it has just been renamed


class FileCache:
    """The files of one upstream. Thread-safe."""

    def __init__(self, store: PageStore, upstream: UpstreamClient, pages: PageCache) -> None:
        self.requests = 0  # of clients, since the start
        self.fetched = 0  # downloads, since the start
        self.fetched_bytes = 0
        self._store = store
        self._upstream = upstream
        self._pages = pages
        self._downloads: dict[Path, Download] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(_WORKERS, "file")

    def get(self, project: str, folder: str, filename: str) -> Path | Download:
        """Return the path of a stored file, or its download.

        A download continues after its clients have left. It fails with NotFoundError if no page
        of the upstream lists the file.
        """
        self.requests += 1
        target = self._store.file_path(project, folder, filename)
        with self._lock:
            if target.exists():
                return target
            download = self._downloads.get(target)
            if download is None:
                download = self._downloads[target] = Download(target)
                self._workers.submit(self._run_download, download, project, folder, filename)
            return download

    def _run_download(self, download: Download, project: str, folder: str, filename: str) -> None:
        try:
            source = self._store.find_source(project, folder, filename)
            if source is None:
                unsaved = self._pages.refresh(project)
                source = self._store.find_source(project, folder, filename, unsaved)
            if source is None:
                raise NotFoundError(f"{project} has no such file")
            self._download(download, source)
        except (NotFoundError, UnavailableError) as error:
            self._finish(download, error)
        except Exception as error:  # noqa: BLE001 - the waiting clients get it
            self._finish(download, UnavailableError(f"{type(error).__name__}: {error}"))
        else:
            self._finish(download, None)

    def _finish(self, download: Download, error: Exception | None) -> None:
        with self._lock:
            self._downloads.pop(download.target, None)
        with download.changed:
            download.error = error
            download.is_complete = error is None
            download.changed.notify_all()

    def _download(self, download: Download, source: FileSource) -> None:
        partial = self._store.new_partial_path()
        digest = hashlib.sha256()
        try:
            with self._report_disk_errors(0):
                out = FileIO(partial, "wb")
            with out, self._upstream.stream_file(source.url) as (length, blocks):
                with download.changed:
                    download.partial, download.length, download.started = partial, length, True
                    download.changed.notify_all()
                for block in blocks:
                    with self._report_disk_errors(length or download.received + len(block)):
                        _write_all(out, block)
                    digest.update(block)
                    with download.changed:
                        download.received += len(block)
                        download.changed.notify_all()
                with self._report_disk_errors(download.received):
                    os.fdatasync(out.fileno())
            if length is not None and download.received != length:
                raise UpstreamResponseError(
                    f"the file ended after {download.received} of {length} bytes"
                )
            if source.sha256 and digest.hexdigest() != source.sha256:
                raise UpstreamResponseError(
                    f"the file's sha256 is {digest.hexdigest()}, its page says {source.sha256}"
                )
            with self._report_disk_errors(download.received):
                self._store.commit_file(partial, download.target, digest.hexdigest())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        self.fetched += 1
        self.fetched_bytes += download.received

    @contextmanager
    def _report_disk_errors(self, size: int) -> Iterator[None]:
        """Report disk errors as ours, not as the upstream's; ``size`` bytes were needed."""
        try:
            yield
        except OSError as error:
            if self._store.record_if_full(error, size):
                raise UnavailableError("No space left on the mirror's volume") from error
            raise UnavailableError(f"the mirror's volume: {error}") from error


def _write_all(out: FileIO, block: bytes) -> None:
    """Write the whole block: on a full disk one write may take only a part without an error."""
    rest = memoryview(block)
    while rest:
        rest = rest[out.write(rest) :]
