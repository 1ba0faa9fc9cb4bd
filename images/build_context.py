"""Build contexts that depend on the files alone, not on the machine that packs them."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
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
    parents = {str(parent) for name in source.files for parent in Path(SOURCE_FOLDER, name).parents}
    for folder in sorted({EMPTY_FOLDER, SOURCE_FOLDER, *parents} - {"."}):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    for name in source.files:
        path, entry = source.folder / name, tarfile.TarInfo(f"{SOURCE_FOLDER}/{name}")
        if path.is_symlink():
            entry.type = tarfile.SYMTYPE
            entry.linkname = os.readlink(path)  # noqa: PTH115 - the text, not normalized
            archive.addfile(entry)
            continue
        entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
        with path.open("rb") as content:
            entry.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            archive.addfile(entry, content)
