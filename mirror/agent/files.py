"""Files of the host: read whole, replaced by a rename, only while they are what was seen."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from mirror.agent.host_paths import TargetError
from mirror.snapshot import Snapshot, WriteConflict

_HALF = ".pypi-mirror-"  # of files not yet renamed; a killed write leaves one at most
_LARGEST = 1 << 20  # bytes


def read_file(path: Path) -> Snapshot:
    """A file; content None where there is none. Raises Refused for what is no ordinary file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Snapshot(content=None, version="absent")
    except OSError as broken:
        raise TargetError(f"{path.name} cannot be read: {broken.strerror}") from broken
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            raise TargetError(f"{path.name} is no ordinary file of at most {_LARGEST} bytes")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read()
    finally:
        os.close(fd)
    frame = {"mode": stat.S_IMODE(about.st_mode), "uid": about.st_uid, "gid": about.st_gid}
    text = json.dumps(frame, sort_keys=True)
    version = hashlib.sha256(text.encode() + content).hexdigest()
    return Snapshot(content=content, version=version, metadata=text)


def write_file(
    path: Path, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Replace the file of version ``seen``; None removes it. Raises Moved, Refused.

    At any moment the old or the new file is there, whole. The half-written one stands beside it,
    under a name that nothing loads: containerd sees a rename inside of its folder, and reloads,
    where it passes one from outside over.
    """
    remove_leftovers(path.parent)
    now = read_file(path)
    if now.version != expected_version:
        raise WriteConflict(now.version)
    try:
        if content is None:
            path.unlink(missing_ok=True)
            remove_leftovers(path.parent)
        else:
            _replace(path, content, json.loads(now.metadata or metadata or "{}"))
        _sync(path.parent)
    except OSError as broken:
        raise TargetError(f"{path.name} cannot be written: {broken.strerror}") from broken
    return read_file(path)


def remove_leftovers(folder: Path) -> None:
    """Take away what a killed write left: the half of a file, the folder that was made for it."""
    with suppress(OSError):
        for left in folder.glob(f"{_HALF}*"):
            left.unlink(missing_ok=True)
        if folder.name == "pypi-mirror":
            folder.rmdir()


def _replace(path: Path, content: bytes, frame: dict[str, int]) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=_HALF, dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            os.fchmod(fd, frame.get("mode", 0o644))
            about = os.fstat(fd)
            owner = (frame.get("uid", about.st_uid), frame.get("gid", about.st_gid))
            if owner != (about.st_uid, about.st_gid):
                os.fchown(fd, *owner)
            file.flush()
            os.fsync(fd)
        os.replace(name, path)  # noqa: PTH105 - name is a str
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    with suppress(FileNotFoundError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
