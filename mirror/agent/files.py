"""Files of the host: read whole, replaced by a rename, written only at the expected version.

Every file is opened relative to the descriptor of its folder, and no symbolic link is followed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from contextlib import suppress

from mirror.agent.allowlist import MAX_SIZE
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.snapshot import Snapshot, WriteConflict

_TEMPORARY = ".pypi-mirror-"  # prefix of files not yet renamed; a killed write leaves one at most
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = Snapshot(content=None, version="absent")


def read_file(host: HostPaths, path: str) -> Snapshot:
    """Read a regular file of at most 1 MiB, with mode and owner. Raises TargetError for others."""
    try:
        with host.open_folder(path) as folder:
            return _read(folder, path)
    except FileNotFoundError:
        return _ABSENT


def write_file(
    host: HostPaths, path: str, content: bytes | None, expected_version: str
) -> Snapshot:
    """Replace a file, or remove it if ``content`` is None, and return what is there then.

    The file keeps its mode and owner; a new one is root's, with mode 0644. Raises WriteConflict,
    TargetError. At every moment the old or the new file exists, complete. The temporary file is in
    the same folder, under a name that nothing loads: containerd notices a rename within its folder
    and reloads, but not a rename from outside.
    """
    remove_leftovers(host, path)
    try:
        with host.open_folder(path, create=content is not None) as folder:
            current = _read(folder, path)
            if current.version != expected_version:
                raise WriteConflict(current.version)
            if content is None:
                with suppress(FileNotFoundError):
                    os.unlink(_name(path), dir_fd=folder)
            else:
                _replace(folder, _name(path), content, json.loads(current.metadata or "{}"))
            os.fsync(folder)
    except FileNotFoundError:  # there is no such folder, or it was removed meanwhile
        if content is not None or expected_version != _ABSENT.version:
            raise WriteConflict(_ABSENT.version) from None
    except OSError as error:
        raise TargetError(f"{_name(path)} cannot be written: {error.strerror}") from error
    if content is None:
        remove_leftovers(host, path)
    return read_file(host, path)


def remove_leftovers(host: HostPaths, path: str) -> None:
    """Remove what a killed write left: its temporary file, and the state folder if it is empty."""
    with suppress(OSError, TargetError), host.open_folder(path) as folder:
        for name in _list_names(folder):
            if name.startswith(_TEMPORARY):
                os.unlink(name, dir_fd=folder)
        if path.startswith(f"{STATE_DIRECTORY}/"):
            with host.open_folder(str(STATE_DIRECTORY)) as parent:
                os.rmdir(STATE_DIRECTORY.name, dir_fd=parent)


def list_folder(host: HostPaths, folder: str) -> list[str]:
    """Return the names of the files in a folder, sorted; none if there is no such folder.

    Raises TargetError if the path to the folder has a symbolic link.
    """
    with suppress(FileNotFoundError), host.open_folder(f"{folder}/x") as fd:
        return sorted(_list_names(fd))
    return []


def _list_names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _read(folder: int, path: str) -> Snapshot:
    name = _name(path)
    try:
        fd = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return _ABSENT
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIZE:
            raise TargetError(f"{path} is not a regular file of at most {MAX_SIZE} bytes")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read(MAX_SIZE + 1)
    finally:
        os.close(fd)
    owner = {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    metadata = json.dumps(owner, sort_keys=True)
    version = hashlib.sha256(metadata.encode() + content).hexdigest()
    return Snapshot(content=content, version=version, metadata=metadata)


def _replace(folder: int, name: str, content: bytes, owner: dict[str, int]) -> None:
    temporary = f"{_TEMPORARY}{secrets.token_hex(8)}"
    fd = os.open(temporary, _CREATE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, owner.get("mode", 0o644))
            status = os.fstat(fd)
            ids = (owner.get("uid", status.st_uid), owner.get("gid", status.st_gid))
            if ids != (status.st_uid, status.st_gid):
                os.fchown(fd, *ids)
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _name(path: str) -> str:
    return path.rpartition("/")[2]
