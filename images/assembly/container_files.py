"""Read the files of a container into segments."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from posixpath import dirname
from typing import IO

from images.assembly.segment import LayerEntry, LayerEntryError, SegmentWriter

_BUFFER_BYTES = 1 << 20
_KINDS = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), tarfile.REGTYPE),
    **{kind: kind for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)},
}


def read_entries(stream: IO[bytes], place: str) -> Iterator[tuple[LayerEntry, IO[bytes] | None]]:
    """Yield what is in an archive that an engine made of a path, with its content.

    ``place`` is the path in the layer, without a slash at its ends. Pipes, sockets and devices are
    left out. The content has to be read before the next entry.
    """

    def rename(name: str) -> str:  # the archive's names begin with the last part of the path
        return place + name.strip("/").removeprefix(name.strip("/").partition("/")[0])

    with tarfile.open(
        fileobj=stream,
        mode="r|",
        bufsize=_BUFFER_BYTES,
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        for member in archive:
            if member.type not in _KINDS:
                continue
            kind = _KINDS[member.type]
            target = member.linkname
            entry = LayerEntry(
                name=rename(member.name),
                kind=kind,
                mode=0o777 if kind == tarfile.SYMTYPE else member.mode & 0o7777,
                owner=member.uid,
                group=member.gid,
                size=member.size if kind == tarfile.REGTYPE else 0,
                target=rename(target) if kind == tarfile.LNKTYPE else target,
            )
            yield entry, archive.extractfile(member) if kind == tarfile.REGTYPE else None


def split_entries(
    entries: Iterable[tuple[LayerEntry, IO[bytes] | None]],
    choose: Callable[[str], SegmentWriter | None],
    top: str,
) -> None:
    """Write entries to segments that ``choose`` returns for their names; None drops one.

    A directory is in every segment that has a file below it, from ``top`` on.
    """
    folders: dict[str, LayerEntry] = {}
    writers: dict[str, SegmentWriter] = {}
    last: SegmentWriter | None = None
    for entry, content in entries:
        if entry.kind == tarfile.DIRTYPE:
            folders[entry.name] = entry
            continue
        if not (writer := choose(entry.name)):
            continue
        if last and last is not writer:
            last.close()  # there may be more segments than files that a process may have open
        last = writer
        for parent in _list_parents(entry.name, top):
            if parent not in writer:
                writer.add(folders.get(parent, _default_folder(parent)))
        if entry.kind == tarfile.LNKTYPE and not writer.can_link(entry.name, entry.target):
            if entry.target not in writers:
                raise LayerEntryError(
                    f"an image cannot have the file {entry.name!r}",
                    why=f"it is a hard link to {entry.target!r}, which is not part of the layer",
                    next_step="--builder dockerfile builds the image without this limit",
                )
            same = writers[entry.target].read(entry.target)
            file = replace(entry, kind=tarfile.REGTYPE, size=len(same), target="")
            writer.add(file, io.BytesIO(same))
        else:
            writer.add(entry, content)
        writers[entry.name] = writer


def _list_parents(name: str, top: str) -> list[str]:
    """Return the directories of a name, the uppermost first, down from ``top``."""
    parents = []
    while (name := dirname(name)) and len(name) >= len(top):
        parents.append(name)
    return parents[::-1]


def _default_folder(name: str) -> LayerEntry:
    return LayerEntry(name=name, kind=tarfile.DIRTYPE, mode=0o755)
