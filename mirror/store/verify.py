"""Check every stored file against its hash while the mirror runs; `--repair` fixes what it can.

Runs in a pod beside the volume (`python3 -m mirror.store.verify …`), in `mirror verify --local`,
and in the background of the cache (mirror.cache.scrubber).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mirror import volume
from mirror.core.errors import MirrorError
from mirror.store.digests import create_digest
from mirror.store.download import check_download
from mirror.store.inventory import StoredFile, is_page_intact, iter_stored_files

_CHUNK = 1 << 20
_PROGRESS_SECONDS = 1.0  # between two lines of progress

FileState = Literal["sound", "missing", "empty", "corrupt", "unreadable", "unknown"]
RepairOutcome = Literal["found", "fetched again", "removed", "set aside", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A damaged or missing file, and what was done about it. ``file`` is relative to ``data``.

    ``outcome``: found (nothing was done), fetched again, removed (the next request fetches it),
    set aside (a private file with wrong bytes, moved to ``damaged/``), lost (private and missing).
    """

    file: str
    private: bool
    state: FileState
    outcome: RepairOutcome
    next_step: str = ""

    @property
    def is_repaired(self) -> bool:
        return self.outcome in ("fetched again", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The result of a check. ``size`` in bytes; ``unknown`` files have no hash to compare with."""

    files: int
    size: int
    unknown: int
    flaws: tuple[Flaw, ...]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether every flaw that was found is repaired."""
        return all(flaw.is_repaired for flaw in self.flaws)


@dataclass(frozen=True, slots=True)
class _CheckedFile:
    """A file, its state, and its stat result from before it was read (None if missing)."""

    file: StoredFile
    state: FileState
    stat: os.stat_result | None

    def is_unchanged(self) -> bool:
        """Whether the path still holds the file that was read."""
        current = _read_stat(self.file.path)
        return bool(self.stat and current and current.st_ino == self.stat.st_ino)


def verify_files(
    data: Path,
    *,
    repair: bool = False,
    root: str | None = None,
    only: Sequence[StoredFile] | None = None,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    pause: Callable[[int], None] = lambda _: None,
) -> VerifyReport:
    """Hash every file below ``data``, or ``only`` some of them, and repair them if asked to.

    ``root`` is the index's root URL: with it, removed files are fetched again at once.
    ``on_progress`` gets the number of files done, of all files, and a filename. ``pause`` gets the
    size of each chunk read; it slows down a run in the background.
    """
    start = time.monotonic()
    files = list(iter_stored_files(data)) if only is None else only
    size = unknown = 0
    wrong: list[_CheckedFile] = []
    for number, file in enumerate(files):
        on_progress(number, len(files), file.path.name)
        stat = _read_stat(file.path)
        state = _check_file(file, stat, pause)
        size += stat.st_size if stat else 0
        unknown += state == "unknown"
        if state not in ("sound", "unknown"):
            wrong.append(_CheckedFile(file, state, stat))
    flaws = tuple(
        _describe(data, checked, _repair(data, checked, root) if repair else "found")
        for checked in _still_wrong(data, wrong)
    )
    return VerifyReport(
        files=len(files),
        size=size,
        unknown=unknown,
        flaws=flaws,
        seconds=round(time.monotonic() - start, 1),
    )


def _check_file(
    file: StoredFile, stat: os.stat_result | None, pause: Callable[[int], None]
) -> FileState:
    if stat is None or file.kind == "folder":
        return "missing"
    if file.kind == "page":
        pause(stat.st_size)
        return "sound" if is_page_intact(file.path) else "corrupt"
    algorithm, _, expected = file.hash_spec.partition("=")
    digest = create_digest(algorithm) if expected else None
    if digest is None:
        return "unknown"
    try:
        with file.path.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
                pause(len(chunk))
    except FileNotFoundError:
        return "missing"
    except OSError:  # a bad sector, or missing permissions
        return "unreadable"
    if digest.hexdigest() == expected:
        return "sound"
    return "corrupt" if stat.st_size else "empty"


def _still_wrong(data: Path, wrong: list[_CheckedFile]) -> Iterator[_CheckedFile]:
    """Leave out packages that were removed, and pages that were replaced, during the check."""
    if not wrong:
        return
    current = {file.path for file in iter_stored_files(data)}
    for checked in wrong:
        path = checked.file.path
        if path in current and not (checked.file.kind == "page" and is_page_intact(path)):
            yield checked


def _repair(data: Path, checked: _CheckedFile, root: str | None) -> RepairOutcome:
    file = checked.file
    if file.is_private:
        return _set_aside(data, checked)
    if file.kind == "folder":
        shutil.rmtree(file.path, ignore_errors=True)
        return "removed"
    if checked.is_unchanged():  # it may have been fetched again in the meantime
        for path in (file.path, *file.companions):
            path.unlink(missing_ok=True)
    if file.url:
        with suppress(OSError):
            file.path.parent.rmdir()
        algorithm, _, digest = file.hash_spec.partition("=")
        if root and check_download(root + file.url, digest if algorithm == "sha256" else "").ok:
            return "fetched again"
    return "removed"


def _set_aside(data: Path, checked: _CheckedFile) -> RepairOutcome:
    """Move an upload with wrong bytes to ``damaged/``: uploads are never deleted."""
    if checked.stat is None:
        return "lost"
    path = checked.file.path
    target = data / volume.DAMAGED / path.relative_to(data)
    target.parent.mkdir(parents=True, exist_ok=True)
    if checked.is_unchanged():
        path.replace(target)
    return "set aside"


def _describe(data: Path, checked: _CheckedFile, outcome: RepairOutcome) -> Flaw:
    file = checked.file
    next_step = ""
    if file.is_private and outcome == "found" and checked.state != "missing":
        next_step = "mirror verify --repair takes it out of service"
    elif file.is_private:
        next_step = f"mirror add {file.path.name} (from where it was built), or restore a backup"
    return Flaw(
        file=file.path.relative_to(data).as_posix(),
        private=file.is_private,
        state=checked.state,
        outcome=outcome,
        next_step=next_step,
    )


def _read_stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def main() -> int:
    """Run in the pod; prints JSON lines: progress, and finally the report or an error."""
    parser = argparse.ArgumentParser(prog="mirror.store.verify", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--root", help="root URL of the index, to fetch removed files again")
    options = parser.parse_args()
    last = 0.0

    def print_progress(done: int, total: int, name: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            print(json.dumps({"done": done, "total": total, "name": name}), flush=True)

    try:
        report = verify_files(
            options.data, repair=options.repair, root=options.root, on_progress=print_progress
        )
    except (MirrorError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({"report": asdict(report)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
