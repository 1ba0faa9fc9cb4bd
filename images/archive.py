"""Tar archives that depend on their content alone: no times, no owners."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def add_files(archive: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    """Add files (path → content) to an archive, sorted by path, with mode 0644."""
    for path, content in sorted(files.items()):
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))


def pack_files(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of files (path → content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        add_files(archive, files)
    return buffer.getvalue()
