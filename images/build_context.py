"""Build contexts that depend on the files alone, not on the machine that packs them."""

from __future__ import annotations

import errno
import io
import tarfile
import tempfile
from collections.abc import Mapping
from typing import IO

from images.application_dockerfile import EMPTY_FOLDER, SOURCE_FOLDER
from images.archive import add_files
from images.source import ProjectSource
from mirror.core.errors import UnfitError

_MAX_IN_MEMORY = 1 << 26  # bytes; a larger context goes to a temporary file


def pack_context(files: Mapping[str, bytes], source: ProjectSource | None = None) -> IO[bytes]:
    """Return a tar of files, and of a source below SOURCE_FOLDER (and then also EMPTY_FOLDER).

    Modes are 0644 or 0755; there are no times and owners. Raises UnfitError if a file cannot be
    read, or there is no space for the context.
    """
    # the caller closes the file
    context: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_MAX_IN_MEMORY)  # noqa: SIM115
    try:
        with tarfile.open(fileobj=context, mode="w") as archive:
            add_files(archive, files)
            if source:
                _add_source(archive, source)
        context.seek(0)
    except OSError as error:
        next_step = "make the file readable, or exclude it in .dockerignore"
        if error.errno == errno.ENOSPC:
            next_step = f"make room in {tempfile.gettempdir()}, or set TMPDIR"
        raise UnfitError(
            "the source cannot be packed for the engine", why=str(error), next_step=next_step
        ) from error
    return context


def _add_source(archive: tarfile.TarFile, source: ProjectSource) -> None:
    folders: set[str] = set()
    for folder in (EMPTY_FOLDER, SOURCE_FOLDER):
        _add_folder(archive, folder, folders)
    for name, file in sorted(source.files.items()):
        path = f"{SOURCE_FOLDER}/{name}"
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            _add_folder(archive, "/".join(parts[:depth]), folders)
        entry = tarfile.TarInfo(path)
        if file.link is not None:
            entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            archive.addfile(entry)
            continue
        entry.mode = 0o755 if file.executable else 0o644
        with file.path.open("rb") as content:
            entry.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            archive.addfile(entry, content)


def _add_folder(archive: tarfile.TarFile, name: str, added: set[str]) -> None:
    if name not in added:
        added.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
