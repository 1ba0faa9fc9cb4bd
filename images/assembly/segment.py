"""Write segments of layers: entries of a tar that depend on nothing but the files.

A layer is one or more segments and an end mark. Entries are sorted, with one fixed time; numeric
owners only; no extended attributes. Directories come before what is in them.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from images.application_dockerfile import SOURCE_DATE_EPOCH
from mirror.core.errors import UnfitError


class LayerEntryError(UnfitError):
    """A file cannot be part of a layer, or the layer cannot be written."""


BLOCK = tarfile.BLOCKSIZE
END_MARK = bytes(2 * BLOCK)
_COPY_BYTES = 1 << 20
# opaque and removed paths of lower layers (OCI image specification, "Whiteouts")
WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A file (with ``size``), a directory, a symbolic link or a hard link.

    ``target`` is the text of a symbolic link, or the name of what a hard link is the same file as.
    """

    name: str
    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    size: int = 0
    target: str = ""

    def render_header(self) -> bytes:
        """Return the entry's header: ustar, or PAX if a name or size needs it."""
        info = tarfile.TarInfo(self.name)
        info.type, info.mode, info.linkname = self.kind, self.mode, self.target
        info.uid, info.gid = self.owner, self.group
        info.size = self.size if self.kind == tarfile.REGTYPE else 0
        info.mtime = int(SOURCE_DATE_EPOCH)
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """Where an entry's header begins and its content ends in the file of a segment."""

    name: str
    start: int
    end: int
    is_folder: bool


def merge_indexes(indexes: Sequence[Sequence[IndexEntry]]) -> list[tuple[int, int, int]]:
    """Return the pieces (number of the segment, start, end) of a layer without duplicate names.

    Engines refuse a layer with two entries of one name. The first folder counts, and the last file.
    """
    owners: dict[str, int] = {}
    for number, index in enumerate(indexes):
        for entry in index:
            if entry.is_folder:
                owners.setdefault(entry.name, number)
            else:
                owners[entry.name] = number
    pieces: list[tuple[int, int, int]] = []
    for number, index in enumerate(indexes):
        for entry in index:
            if owners[entry.name] != number:
                continue
            if pieces and pieces[-1][0] == number and pieces[-1][2] == entry.start:
                pieces[-1] = (number, pieces[-1][1], entry.end)
            else:
                pieces.append((number, entry.start, entry.end))
    return pieces


def sort_key(name: str) -> list[bytes]:
    """Return the key by which entries are sorted: as a walk visits them, by bytes."""
    return os.fsencode(name).split(b"/")


def check_name(name: str) -> None:
    """Raise LayerEntryError for a name that leads out of the layer, or hides a lower file."""
    parts = name.split("/")
    if not name or name.startswith("/") or {"", ".", ".."} & set(parts) or "\0" in name:
        raise _refuse(name, "it is not a path below /")
    if any(part.startswith(WHITEOUT) for part in parts):
        raise _refuse(name, f"a name with {WHITEOUT} removes a file of a lower layer")


def _refuse(name: str, why: str) -> LayerEntryError:
    return LayerEntryError(
        f"an image cannot have the file {name!r}",
        why=why,
        next_step="leave the file out of the project or of its package (--vendor NAME=WHEEL), or "
        "use --builder dockerfile",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenEntry:
    """An entry, and where its header begins and its content ends in the segment's file."""

    entry: LayerEntry
    key: list[bytes]
    start: int
    end: int


class SegmentWriter:
    """Writes one segment to a file. Entries may come in any order; each path only once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: IO[bytes] | None = path.open("w+b")
        self._entries: dict[str, WrittenEntry] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def _file(self) -> IO[bytes]:
        if self._opened is None:
            self._opened = self._path.open("r+b")
        return self._opened

    def close(self) -> None:
        """Close the file; the next entry opens it again."""
        if self._opened:
            self._opened.close()
        self._opened = None

    def add(self, entry: LayerEntry, content: IO[bytes] | None = None) -> None:
        """Write an entry. Raises LayerEntryError if no layer may have it."""
        check_name(entry.name)
        self._add(entry, content)

    def add_whiteout(self, name: str) -> None:
        """Write the mark that a path of a lower layer is removed."""
        check_name(name)
        folder, slash, base = name.rpartition("/")
        self._add(LayerEntry(name=f"{folder}{slash}{WHITEOUT}{base}"), None)

    def _add(self, entry: LayerEntry, content: IO[bytes] | None) -> None:
        if entry.name in self._entries:
            raise _refuse(entry.name, "it is there twice")
        if entry.kind == tarfile.LNKTYPE and not self.can_link(entry.name, entry.target):
            raise _refuse(entry.name, f"it is a hard link to {entry.target!r}, which comes later")
        start = self._file.seek(0, os.SEEK_END)
        _write(self._file, entry.render_header())
        if entry.kind == tarfile.REGTYPE and entry.size:
            copied = _copy(content, self._file, entry.size) if content else 0
            if copied != entry.size:
                why = (
                    f"it has {copied} bytes instead of {entry.size}: it changed, or its end is lost"
                )
                raise _refuse(entry.name, why)
            _write(self._file, bytes(-entry.size % BLOCK))
        self._entries[entry.name] = WrittenEntry(
            entry=entry, key=sort_key(entry.name), start=start, end=self._file.tell()
        )

    def can_link(self, name: str, target: str) -> bool:
        """Whether an entry may be a hard link to another: a file that comes before it."""
        known = self._entries.get(target)
        return (
            known is not None and known.entry.kind == tarfile.REGTYPE and known.key < sort_key(name)
        )

    def read(self, name: str) -> bytes:
        """Return the content of a file that was written."""
        known = self._entries[name]
        if known.entry.kind == tarfile.LNKTYPE:
            return self.read(known.entry.target)
        self._file.seek(known.start + len(known.entry.render_header()))
        return self._file.read(known.entry.size)

    def finish(self) -> list[IndexEntry]:
        """Sort the entries, and close the file; return where they are in it."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.key)
        if any(a.start > b.start for a, b in pairwise(entries)):
            part = self._path.with_name(self._path.name + ".sorted")
            with part.open("wb") as out:
                for entry in entries:
                    self._file.seek(entry.start)
                    _copy(self._file, out, entry.end - entry.start)
            self.close()
            part.replace(self._path)
        self.close()
        index, end = [], 0
        for written in entries:
            start, end = end, end + written.end - written.start
            is_folder = written.entry.kind == tarfile.DIRTYPE
            index.append(
                IndexEntry(name=written.entry.name, start=start, end=end, is_folder=is_folder)
            )
        return index


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> int:
    """Copy at most so many bytes; return how many were there."""
    left = size
    while left and (chunk := source.read(min(left, _COPY_BYTES))):
        _write(target, chunk)
        left -= len(chunk)
    return size - left


def _write(file: IO[bytes], data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        raise LayerEntryError(
            f"cannot write {file.name}",
            why=error.strerror or str(error),
            next_step="make room there (build-image prune), or set XDG_CACHE_HOME",
        ) from error
