"""Files: one download for all clients, renamed into place only if all known hashes are right."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from mirror.cache.errors import (
    NotFoundError,
    UnavailableError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.names import is_normalized
from mirror.cache.package_paths import PackagePath, guess_projects
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import FileSource, PageStore
from mirror.cache.upstream import FileResponse, UpstreamClient
from mirror.store.digests import BLAKE2B, create_digest

WHOLE_FILE_WAIT = 3.0  # seconds a client waits for the whole file before it gets a stream
STALL_TIMEOUT = 60.0  # seconds without a byte after which a stream ends
HELD_BACK_BYTES = 64 * 1024  # no client gets the last bytes before the hash is checked
_DOWNLOADS = 1024  # at once; others wait for their turn, however long that takes
_WRITERS = 8  # threads that write and hash, or wait for the disk
_BLOCK = 256 * 1024


class Download:
    """A running download that several clients can wait for and read."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.partial: Path | None = None
        self.length: int | None = None  # None if the upstream does not say
        self.has_turn = False  # the upstream is being asked
        self.started = False  # the upstream has begun to respond
        self.received = 0
        self.error: Exception | None = None
        self.is_complete = False
        self._changed = asyncio.Event()

    @property
    def is_finished(self) -> bool:
        return self.is_complete or self.error is not None

    def notify(self) -> None:
        """Wake all that wait for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for the end; returns whether the file is complete, raises the download's error."""
        return await self._wait_for(lambda: False, seconds)

    async def wait_for_start(self, seconds: float) -> None:
        """Wait until the length is known; raises the download's error, or one on a timeout.

        The time in which other downloads have their turn does not count.
        """
        await self._wait_for(lambda: self.has_turn, None)
        if not await self._wait_for(lambda: self.started, seconds):
            raise UpstreamUnavailableError(f"no byte of the file within {seconds:.0f} s")

    async def iter_blocks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive; the last ones only if the hash is right, else raise."""
        sent = 0
        with self._open() as content:
            while not (self.is_complete and sent >= self.received):
                end = await self._wait_for_more(sent)
                while sent < end:
                    block = content.read(min(_BLOCK, end - sent))
                    sent += len(block)
                    yield block

    async def _wait_for_more(self, sent: int) -> int:
        """Wait until more than ``sent`` bytes, or all, may be sent; returns how many."""
        while not (self.is_complete or self.received - HELD_BACK_BYTES > sent):
            seen = self.received
            if not await self._wait_for(partial(self._has_more_than, seen), STALL_TIMEOUT):
                raise UpstreamUnavailableError(f"no byte of the file for {STALL_TIMEOUT:.0f} s")
        return self.received if self.is_complete else self.received - HELD_BACK_BYTES

    def _has_more_than(self, size: int) -> bool:
        return self.received > size

    async def _wait_for(self, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Wait for a condition or the end; False after a timeout. Raises the download's error."""
        try:
            async with asyncio.timeout(seconds):
                while not (self.is_finished or condition()):
                    await self._changed.wait()
        except TimeoutError:
            return self.is_finished and self.error is None
        if self.error is not None:
            raise self.error
        return True

    def _open(self) -> BinaryIO:
        assert self.partial is not None
        try:
            return self.partial.open("rb")
        except FileNotFoundError:
            return self.target.open("rb")  # it has just been renamed


_FindSource = Callable[[], Coroutine[Any, Any, FileSource | None]]


class FileCache:
    """The files of one upstream. For one event loop; threads write and hash."""

    def __init__(self, store: PageStore, upstream: UpstreamClient, pages: PageCache) -> None:
        self.requests = 0  # of clients, since the start
        self.fetched = 0  # downloads, since the start
        self.fetched_bytes = 0
        self._store = store
        self._upstream = upstream
        self._pages = pages
        self._downloads: dict[Path, Download] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_DOWNLOADS)
        self._writers = ThreadPoolExecutor(_WRITERS, "file")

    async def get(self, project: str, folder: str, filename: str) -> Path | Download:
        """Return the path of a stored file, or its download, by a link of a page.

        A download continues after its clients have left. It fails with NotFoundError if no page
        of the upstream lists the file.
        """
        self.requests += 1
        target = self._store.file_path(project, folder, filename)
        if target.exists():
            return target
        source = self._store.find_source(project, folder, filename)
        # a link of an older version, whose page has reversible links now
        path = self._store.find_package_path(project, folder, filename)
        if source is None and path is None:
            unsaved = await self._pages.refresh(project)
            source = self._store.find_source(project, folder, filename, unsaved)
            path = self._store.find_package_path(project, folder, filename, unsaved)
        if source is None:
            if path is not None:
                return self._get_package(path, project)
            raise NotFoundError(f"{project} has no such file")

        async def return_source() -> FileSource | None:
            return source

        return self._start(target, return_source)

    def get_package(self, path: PackagePath) -> Path | Download:
        """Return the path of a stored file, or its download, by its path at the upstream."""
        self.requests += 1
        return self._get_package(path, "")

    def _get_package(self, path: PackagePath, project: str) -> Path | Download:
        target = self._store.package_path(path)
        if target.exists():
            return target
        names = [project] if project else list(guess_projects(path.filename))

        async def find_source() -> FileSource | None:
            source = self._find_package(names, path, target)
            if source is None and not path.is_metadata:
                origin = self._store.read_origin()
                if origin:  # the path holds a hash: no page is needed
                    return FileSource(url=f"{origin}{path}", hashes={BLAKE2B: path.blake2b})
            for name in names if source is None else ():
                try:
                    unsaved = await self._pages.refresh(name)
                except NotFoundError:
                    continue
                source = self._find_package([name], path, target, unsaved)
                if source is not None:
                    break
            return source

        return self._start(target, find_source)

    def _find_package(
        self, names: list[str], path: PackagePath, target: Path, unsaved: Any = None
    ) -> FileSource | None:
        """Look a file up on pages; link the one that an older version stored by its SHA-256."""
        for name in filter(is_normalized, names):
            source = self._store.find_package(name, path, unsaved)
            if source is None:
                continue
            sha256 = source.hashes.get("sha256", "")
            if sha256 and not path.is_metadata:
                self._store.adopt_file(self._store.file_path(name, sha256, path.filename), target)
            return source
        return None

    def _start(self, target: Path, find_source: _FindSource) -> Download:
        """Start a download, or return the running one."""
        download = self._downloads.get(target)
        if download is None:
            download = self._downloads[target] = Download(target)
            task = asyncio.create_task(self._run_download(download, find_source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return download

    async def _run_download(self, download: Download, find_source: _FindSource) -> None:
        try:
            async with self._turn:
                download.has_turn = True
                download.notify()
                source = await find_source()
                if source is None:
                    raise NotFoundError("no page of the upstream lists this file")
                if not download.target.exists():
                    await self._download(download, source)
        except (NotFoundError, UnavailableError) as error:
            download.error = error
        except Exception as error:  # noqa: BLE001 - the waiting clients get it
            download.error = UnavailableError(f"{type(error).__name__}: {error}")
        else:
            if download.partial is None:
                download.partial = download.target
                download.length = download.received = download.target.stat().st_size
            download.started = download.is_complete = True
        finally:
            self._downloads.pop(download.target, None)
            download.notify()

    async def _download(self, download: Download, source: FileSource) -> None:
        digests = {name: create_digest(name) for name in source.hashes}
        if BLAKE2B not in digests:  # else its path holds the hash that it is verified with
            digests.setdefault("sha256", create_digest("sha256"))
        with self._report_disk_errors(0):
            path, out = self._store.create_partial()
        try:
            with out:
                async with self._upstream.stream_file(source.url) as response:
                    _check_response(response, source)
                    download.partial, download.length = path, response.length
                    download.started = True
                    download.notify()
                    await self._receive(download, response, out, list(digests.values()))
                measured = {name: digest.hexdigest() for name, digest in digests.items()}
                _check_content(download, source, measured)
                sha256 = measured.get("sha256", "")
                with self._report_disk_errors(download.received):
                    await self._run_in_thread(self._commit, out, path, download.target, sha256)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self.fetched += 1
        self.fetched_bytes += download.received

    async def _receive(
        self, download: Download, response: FileResponse, out: FileIO, digests: list[Any]
    ) -> None:
        """Write and hash the bytes in a thread while the next ones arrive."""

        def store(block: bytes) -> None:
            _write_all(out, block)
            for digest in digests:
                digest.update(block)

        async for block in response.content.iter_any():
            with self._report_disk_errors(response.length or download.received + len(block)):
                if len(block) < 4096:
                    store(block)  # a thread would cost more than it does
                else:
                    await self._run_in_thread(store, block)
            download.received += len(block)
            download.notify()

    def _commit(self, out: FileIO, path: Path, target: Path, sha256: str) -> None:
        """Rename a file into place once the disk has it."""
        os.fdatasync(out.fileno())
        self._store.commit_file(path, target, sha256)

    async def _run_in_thread(self, function: Callable[..., object], *arguments: object) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writers, function, *arguments)

    @contextmanager
    def _report_disk_errors(self, size: int) -> Iterator[None]:
        """Report disk errors as ours, not as the upstream's; ``size`` bytes were needed."""
        try:
            yield
        except OSError as error:
            if self._store.record_if_full(error, size):
                raise UnavailableError("No space left on the mirror's volume") from error
            raise UnavailableError(f"the mirror's volume: {error}") from error


def _check_response(response: FileResponse, source: FileSource) -> None:
    """Refuse what could not be told from a part of the file, or from an error page."""
    if source.hashes:
        return
    if response.length is None:
        raise UpstreamResponseError("the file has neither a hash nor a length")
    if response.content_type.partition(";")[0].strip().lower() == "text/html":
        raise UpstreamResponseError("the upstream sends an HTML page in place of the file")


def _check_content(download: Download, source: FileSource, measured: Mapping[str, str]) -> None:
    """Refuse a file that is cut off or that does not match all hashes of its source."""
    if download.length is not None and download.received != download.length:
        raise UpstreamResponseError(
            f"the file ended after {download.received} of {download.length} bytes"
        )
    for name, expected in source.hashes.items():
        if measured[name] != expected:
            raise UpstreamResponseError(
                f"the file's {name} is {measured[name]}, its page says {expected}"
            )


def _write_all(out: FileIO, block: bytes) -> None:
    """Write the whole block: on a full disk one write may take only a part without an error."""
    rest = memoryview(block)
    while rest:
        rest = rest[out.write(rest) :]
