"""The owners and modes that devpi needs on any volume: given back where we may, else named."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from mirror.core.errors import UnfitError

_NAMED = 3  # paths that an error lists
_DEPTH = 3  # of folders that are looked at in the cache, which may hold very many
_WHOLE = "devpi"  # looked at to the last folder


def ensure_writable(data: Path, report: Callable[[str], None]) -> None:
    """Make sure that we may write the folders and the database below ``data``.

    Restored backups, copied volumes and `kubectl exec` as root leave files of others or without
    the writing bit. A mode of ours is mended; raises UnfitError that names what is somebody
    else's, its owner and mode.
    """
    mended = 0
    foreign = []
    for path in _places(data):
        if os.access(path, _needed(path)):
            continue
        about = path.lstat()
        try:
            path.chmod(stat.S_IMODE(about.st_mode) | (0o700 if path.is_dir() else 0o600))
            mended += 1
        except OSError:
            mode = f"{stat.S_IMODE(about.st_mode):04o}"
            foreign.append(f"{path} is owned by {about.st_uid}:{about.st_gid}, mode {mode}")
    if mended:
        report(f"gave the writing bit back to {mended} paths below {data}")
    if foreign:
        more = f"\nand {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        raise UnfitError(
            f"the volume holds files that the mirror may not write: {data}",
            why="\n".join(foreign[:_NAMED]) + more,
            next_step=f"give them to the mirror's user on the volume's node: "
            f"chown -R {os.getuid()}:{os.getgid()} FOLDER",
        )


def _places(data: Path) -> Iterator[Path]:
    yield data
    for folder, names, files in os.walk(data):
        here = Path(folder)
        inside = here.relative_to(data)
        if inside.parts and inside.parts[0] == "lost+found":
            names.clear()
            continue
        if len(inside.parts) >= _DEPTH and inside.parts[0] != _WHOLE:
            names.clear()
        found = [here / name for name in names if name != "lost+found"]
        if len(inside.parts) == 1:
            found += [here / name for name in files]
        yield from (path for path in found if not path.is_symlink())


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
