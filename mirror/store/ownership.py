"""Check that the mirror may write its volume; fix modes, and name files of other owners."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mirror.core.errors import UnfitError
from mirror.volume import DEVPI

_MAX_LISTED = 3  # paths in an error message
_MAX_DEPTH = 3  # of folders checked outside devpi's: the cache may hold very many


def ensure_writable(data: Path, report: Callable[[str], None]) -> None:
    """Make the folders and the database below ``data`` writable.

    Restored backups, copied volumes and `kubectl exec` as root leave files of another owner or
    without write permission. The modes of our own files are fixed; raises UnfitError with owner
    and mode of files that belong to others.
    """
    fixed = 0
    foreign = []
    for path in _iter_paths(data):
        if os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            continue
        current = path.lstat()
        mode = stat.S_IMODE(current.st_mode)
        try:
            path.chmod(mode | (0o700 if path.is_dir() else 0o600))
            fixed += 1
        except OSError:
            owner = f"{current.st_uid}:{current.st_gid}"
            foreign.append(f"{path} is owned by {owner}, mode {mode:04o}")
    if fixed:
        report(f"restored write permission on {fixed} paths below {data}")
    if foreign:
        omitted = len(foreign) - _MAX_LISTED
        raise UnfitError(
            f"the volume holds files that the mirror may not write: {data}",
            why="\n".join(foreign[:_MAX_LISTED]) + (f"\nand {omitted} more" if omitted > 0 else ""),
            next_step=f"give them to the mirror's user on the volume's node: "
            f"chown -R {os.getuid()}:{os.getgid()} FOLDER",
        )


def _iter_paths(data: Path) -> Iterator[Path]:
    """Yield the folders, to a limited depth outside devpi's, and the files just below the top."""
    yield data
    for folder, names, files in os.walk(data):
        parent = Path(folder)
        parts = parent.relative_to(data).parts
        if parts and parts[0] == "lost+found":
            names.clear()
            continue
        if len(parts) >= _MAX_DEPTH and parts[0] != DEVPI:
            names.clear()
        paths = [parent / name for name in names if name != "lost+found"]
        if len(parts) == 1:
            paths += [parent / name for name in files]
        yield from (path for path in paths if not path.is_symlink())
