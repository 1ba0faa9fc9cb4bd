"""Files of the host: read whole, replaced by a rename, written only at the expected version."""

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

_TEMPORARY = ".pypi-mirror-"  # prefix of files not yet renamed; a killed write leaves one at most
_MAX_SIZE = 1 << 20  # bytes


def read_file(path: Path) -> Snapshot:
    """Read a regular file of at most 1 MiB, with mode and owner. Raises TargetError for others."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Snapshot(content=None, version="absent")
    except OSError as error:
        raise TargetError(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SIZE:
            raise TargetError(f"{path.name} is not a regular file of at most {_MAX_SIZE} bytes")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read()
    finally:
        os.close(fd)
    owner = {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    metadata = json.dumps(owner, sort_keys=True)
    version = hashlib.sha256(metadata.encode() + content).hexdigest()
    return Snapshot(content=content, version=version, metadata=metadata)


def write_file(
    path: Path, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Replace a file, or remove it if ``content`` is None, and return what is there then.

    The file keeps its mode and owner; a new one gets those in ``metadata``. Raises WriteConflict,
    TargetError. At every moment the old or the new file exists, complete. The temporary file is in
    the same folder, under a name that nothing loads: containerd notices a rename within its folder
    and reloads, but not a rename from outside.
    """
    remove_leftovers(path.parent)
    current = read_file(path)
    if current.version != expected_version:
        raise WriteConflict(current.version)
    try:
        if content is None:
            path.unlink(missing_ok=True)
            remove_leftovers(path.parent)
        else:
            _replace(path, content, json.loads(current.metadata or metadata or "{}"))
        _sync(path.parent)
    except OSError as error:
        raise TargetError(f"{path.name} cannot be written: {error.strerror}") from error
    return read_file(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed write left: its temporary file, and the state folder if it is empty."""
    with suppress(OSError):
        for file in folder.glob(f"{_TEMPORARY}*"):
            file.unlink(missing_ok=True)
        if folder.name == "pypi-mirror":
            folder.rmdir()


def _replace(path: Path, content: bytes, metadata: dict[str, int]) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            os.fchmod(fd, metadata.get("mode", 0o644))
            status = os.fstat(fd)
            owner = (metadata.get("uid", status.st_uid), metadata.get("gid", status.st_gid))
            if owner != (status.st_uid, status.st_gid):
                os.fchown(fd, *owner)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)  # noqa: PTH105 - temporary is a str
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    with suppress(FileNotFoundError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
