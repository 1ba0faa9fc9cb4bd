"""A copy of what exists here alone, before another version of devpi-server touches it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mirror.core.errors import UnfitError

_KEPT = 3  # copies
_FILES = "+files"
_NOTE = ".served-by"  # goes with the folder: a copy that is put back tells whose it is


def back_up(serverdir: Path, report: Callable[[str], None]) -> None:
    """Copy the server's folder beside it, if another version served it last; no server runs.

    Uploads are linked, not copied: devpi writes files anew and renames them, so that a link stays
    what it was and takes no room. Raises UnfitError where there is no room for the rest.
    """
    note = serverdir / _NOTE
    now = version("devpi-server")
    last = note.read_text().strip() if note.exists() else "unknown"
    if last == now:
        return
    backups = serverdir.with_name("backups")
    name = f"devpi-{last}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    unfinished = backups / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(serverdir, unfinished, copy_function=_link_or_copy)
        unfinished.rename(backups / name)
    except OSError as broken:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UnfitError(
            f"no copy of {serverdir} could be made before devpi-server {now} starts",
            why=f"devpi-server {last} served it last; {broken}",
            next_step="make room on the volume, or go on with the image of before",
        ) from broken
    record_version(serverdir)
    report(f"devpi-server {last} served last, {now} does now: {backups / name} is as it was")
    for old in sorted(backups.glob("devpi-*"), key=lambda path: path.name[-22:])[:-_KEPT]:
        shutil.rmtree(old)


def record_version(serverdir: Path) -> None:
    """Note which version serves it."""
    (serverdir / _NOTE).write_text(version("devpi-server"))


def _link_or_copy(source: str, target: str) -> str:
    if _FILES in Path(source).parts:
        try:
            os.link(source, target)
            return target
        except OSError:  # a filesystem without links
            pass
    return str(shutil.copy2(source, target))
