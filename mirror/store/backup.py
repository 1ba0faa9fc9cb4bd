"""Copy devpi's folder before another version of devpi-server changes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mirror.core.errors import UnfitError
from mirror.volume import BACKUPS, DEVPI_FILES

_MAX_COPIES = 3
_VERSION_FILE = ".served-by"  # inside the folder: a restored copy says which version served it


def back_up(serverdir: Path, report: Callable[[str], None]) -> None:
    """Copy the server's folder if another version served it last; no server may be running.

    Uploads are hard-linked and take no space: devpi never changes them in place. Raises UnfitError
    if the rest does not fit on the volume.
    """
    record = serverdir / _VERSION_FILE
    current = version("devpi-server")
    last = record.read_text().strip() if record.exists() else "unknown"
    if last == current:
        return
    backups = serverdir.with_name(BACKUPS)
    backup = backups / f"devpi-{last}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    unfinished = backups / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(serverdir, unfinished, copy_function=_link_or_copy)
        unfinished.rename(backup)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UnfitError(
            f"no copy of {serverdir} could be made before devpi-server {current} starts",
            why=f"devpi-server {last} served it last; {error}",
            next_step="free space on the volume, or use the previous image",
        ) from error
    record_version(serverdir)
    report(f"devpi-server changes from {last} to {current}: {backup} is a copy from before")
    for old in sorted(backups.glob("devpi-*"), key=lambda path: path.name[-22:])[:-_MAX_COPIES]:
        shutil.rmtree(old)


def record_version(serverdir: Path) -> None:
    """Record which version of devpi-server serves the folder."""
    (serverdir / _VERSION_FILE).write_text(version("devpi-server"))


def _link_or_copy(source: str, target: str) -> str:
    if DEVPI_FILES in Path(source).parts:
        with suppress(OSError):  # a filesystem without hard links
            os.link(source, target)
            return target
    return str(shutil.copy2(source, target))
