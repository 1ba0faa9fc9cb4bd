"""Every kept file against its hash, beside the running mirror; `--repair` mends what it can.

Runs in a pod beside the volume (`python3 -m mirror.store.verify …`), in `mirror verify --local`,
and by itself (mirror.cache.scrubber). Standard library only, beside mirror.core and devpi's own
reader.
"""

from __future__ import annotations

import argparse
import hashlib
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

from mirror.core.errors import MirrorError
from mirror.store.download import check_download
from mirror.store.layout import StoredFile, is_page_intact, iter_stored_files

_CHUNK = 1 << 20
_SET_ASIDE = "damaged"  # folder of private files whose bytes are wrong: never deleted
_TOLD_SECONDS = 1.0

FileState = Literal["sound", "missing", "empty", "corrupt", "unreadable", "unknown"]
RepairOutcome = Literal["found", "fetched again", "removed", "set aside", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """A file that is not what it should be, and what became of it.

    ``outcome``: found (nothing was done), fetched again, removed (it comes with the next request),
    set aside (private and wrong: kept in ``damaged/``, no longer served), lost (private, missing).
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
    """What was looked at. ``size`` in bytes; ``unknown`` files have no hash to compare with."""

    files: int
    size: int
    unknown: int
    flaws: tuple[Flaw, ...]
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(flaw.is_repaired for flaw in self.flaws)


def verify_files(
    data: Path,
    *,
    repair: bool = False,
    root: str | None = None,
    only: Sequence[StoredFile] | None = None,
    on_progress: Callable[[int, int, str], None] = lambda *_: None,
    pause: Callable[[int], None] = lambda _: None,
) -> VerifyReport:
    """Hash everything below ``data``, or ``only`` some of it; with ``repair`` mend.

    ``root`` is the index's root URL: removed files are asked for there, so that they are there
    again at once. ``told`` is given files done, files in all, and the name; ``pause`` the bytes
    of each chunk read, to slow a run in the background down.
    """
    begun = time.monotonic()
    wanted = list(iter_stored_files(data)) if only is None else only
    size = unknown = 0
    bad: list[tuple[StoredFile, FileState, os.stat_result | None]] = []
    for number, one in enumerate(wanted):
        on_progress(number, len(wanted), one.path.name)
        about = _stat(one.path)
        state = _state(one, about, pause)
        size += about.st_size if about else 0
        unknown += state == "unknown"
        if state not in ("sound", "unknown"):
            bad.append((one, state, about))
    flaws = tuple(
        _mend(data, one, state, about, root) if repair else _flaw(data, one, state)
        for one, state, about in _still(data, bad)
    )
    return VerifyReport(
        files=len(wanted),
        size=size,
        unknown=unknown,
        flaws=flaws,
        seconds=round(time.monotonic() - begun, 1),
    )


def _state(
    one: StoredFile, about: os.stat_result | None, pause: Callable[[int], None]
) -> FileState:
    if about is None or one.expected == "folder":
        return "missing"
    if one.expected == "page":
        pause(about.st_size)
        return "sound" if is_page_intact(one.path) else "corrupt"
    algorithm, _, expected = one.expected.partition("=")
    if not expected or algorithm not in hashlib.algorithms_available:
        return "unknown"
    measured = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with one.path.open("rb") as content:
            while chunk := content.read(_CHUNK):
                measured.update(chunk)
                pause(len(chunk))
    except FileNotFoundError:
        return "missing"
    except OSError:  # a bad sector, or rights that were taken away
        return "unreadable"
    if measured.hexdigest() == expected:
        return "sound"
    return "corrupt" if about.st_size else "empty"


def _still(
    data: Path, bad: list[tuple[StoredFile, FileState, os.stat_result | None]]
) -> Iterator[tuple[StoredFile, FileState, os.stat_result | None]]:
    """Those that are still wrong: packages are removed, and pages replaced, while we read."""
    if not bad:
        return
    now = {one.path for one in iter_stored_files(data)}
    for one, state, about in bad:
        if one.path in now and not (one.expected == "page" and is_page_intact(one.path)):
            yield one, state, about


def _mend(
    data: Path, one: StoredFile, state: FileState, about: os.stat_result | None, root: str | None
) -> Flaw:
    if one.is_private:
        return _set_aside(data, one, state, about)
    if one.path.is_dir():
        shutil.rmtree(one.path, ignore_errors=True)
        return _flaw(data, one, state, "removed")
    # only what we read: it may have been fetched anew meanwhile
    now = _stat(one.path)
    if about and now and now.st_ino == about.st_ino:
        one.path.unlink(missing_ok=True)
        for beside in one.companions:
            beside.unlink(missing_ok=True)
    if one.url:
        with suppress(OSError):
            one.path.parent.rmdir()
    if one.url and root:
        wanted = one.expected.removeprefix("sha256=") if one.expected.startswith("sha256=") else ""
        if check_download(root + one.url, wanted).ok:
            return _flaw(data, one, state, "fetched again")
    return _flaw(data, one, state, "removed")


def _set_aside(data: Path, one: StoredFile, state: FileState, about: os.stat_result | None) -> Flaw:
    if about is None:
        return _flaw(data, one, state, "lost")
    place = data / _SET_ASIDE / one.path.relative_to(data)
    place.parent.mkdir(parents=True, exist_ok=True)
    now = _stat(one.path)
    if now and now.st_ino == about.st_ino:
        one.path.replace(place)
    return _flaw(data, one, state, "set aside")


def _flaw(data: Path, one: StoredFile, state: FileState, outcome: RepairOutcome = "found") -> Flaw:
    next_step = ""
    if one.is_private and outcome == "found":
        next_step = "mirror verify --repair takes it out of service" if state != "missing" else ""
    if one.is_private and not next_step:
        next_step = f"mirror add {one.path.name} (from where it was built), or restore a backup"
    file = one.path.relative_to(data).as_posix()
    return Flaw(
        file=file, private=one.is_private, state=state, outcome=outcome, next_step=next_step
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def main() -> int:
    """The pod's program: lines of JSON, progress ones and last the report."""
    parser = argparse.ArgumentParser(prog="mirror.store.verify", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--root", help="root URL of the index, to fetch removed files again")
    words = parser.parse_args()
    last = 0.0

    def told(done: int, total: int, name: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _TOLD_SECONDS:
            last = time.monotonic()
            print(json.dumps({"done": done, "total": total, "name": name}), flush=True)

    try:
        result = verify_files(words.data, repair=words.repair, root=words.root, on_progress=told)
    except (MirrorError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps({"report": asdict(result)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
