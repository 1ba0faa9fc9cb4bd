"""Build contexts: the same bytes for the same files, whatever machine packs them."""

from __future__ import annotations

import errno
import io
import tarfile
import tempfile
from collections.abc import Mapping
from typing import IO

from images.application_dockerfile import EMPTY_FOLDER, SOURCE_FOLDER
from images.source import ProjectSource
from mirror.core.errors import UnfitError

_IN_MEMORY = 1 << 26  # bytes; larger contexts go through a file


def pack_context(files: Mapping[str, bytes], source: ProjectSource | None = None) -> IO[bytes]:
    """A tar of small files and a source below SOURCE; modes 0644 or 0755, no times, no owners.

    UnfitError where there is no room for it, or a file cannot be read.
    """
    try:
        return _packed(files, source)
    except OSError as broken:
        full = broken.errno == errno.ENOSPC
        raise UnfitError(
            "the source cannot be packed for the engine",
            why=str(broken),
            next_step=f"make room in {tempfile.gettempdir()}, or set TMPDIR"
            if full
            else "make the file readable, or name it in .dockerignore",
        ) from broken


def _packed(files: Mapping[str, bytes], source: ProjectSource | None) -> IO[bytes]:
    out: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - given away
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
        folders: set[str] = set()
        for name in (EMPTY_FOLDER, SOURCE_FOLDER):
            _folder(tar, name, folders)
        for name, file in sorted(source.files.items()) if source else ():
            inner = f"{SOURCE_FOLDER}/{name}"
            parts = inner.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                _folder(tar, "/".join(parts[:depth]), folders)
            entry = tarfile.TarInfo(inner)
            if file.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(entry)
                continue
            entry.mode = 0o755 if file.executable else 0o644
            with file.path.open("rb") as opened:
                entry.size = opened.seek(0, io.SEEK_END)
                opened.seek(0)
                tar.addfile(entry, opened)
    out.seek(0)
    return out


def _folder(tar: tarfile.TarFile, name: str, made: set[str]) -> None:
    if name not in made:
        made.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
