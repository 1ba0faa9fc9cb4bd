"""Check everything on the volume again and again, slowly, to find files that were corrupted.

A damaged cached file is removed, and fetched again with the next request; a damaged upload is moved
to ``damaged/``, as with `mirror verify --repair`.
"""

from __future__ import annotations

import random
import threading
import time
from itertools import chain, islice
from pathlib import Path

from mirror.store.inventory import StoredFile, iter_stored_files, iter_uploads
from mirror.store.verify import verify_files

INTERVAL = 24 * 3600.0  # seconds from the end of one round to the start of the next
READ_RATE = 8 * 1024**2  # bytes a second; costs about 1 % of a core
_START_DELAY = 600.0  # seconds: leave the disk to the pods that start now
_RETRY_DELAY = 600.0  # seconds after a round that failed
_BATCH = 20  # files checked before the wrong ones among them are repaired


class Scrubber:
    """Check rounds over one data folder. ``interval`` in seconds, ``rate`` in bytes a second."""

    def __init__(self, data: Path, *, interval: float = INTERVAL, rate: float = READ_RATE) -> None:
        self.repaired = 0  # since the start
        self.last_ended: float | None = None  # end of the last round (epoch)
        self._data = data
        self._interval = interval
        self._rate = rate
        self._lost: set[Path] = set()
        self._never = threading.Event()  # never set: to wait on

    def start(self) -> None:
        """Run rounds in a background thread."""
        threading.Thread(target=self._run, name="scrub", daemon=True).start()

    def lost_uploads(self) -> list[str]:
        """Return the filenames of uploads that are missing or were moved to ``damaged/``."""
        return sorted({path.name for path in list(self._lost) if not path.exists()})

    def run_round(self) -> None:
        """Check everything once. Starts at a random file, so that restarts do not favor any."""
        self._lost = {file.path for file in iter_uploads(self._data) if not file.path.exists()}
        number = sum(1 for _ in iter_stored_files(self._data))
        start = random.randrange(number) if number else 0
        files = chain(
            islice(iter_stored_files(self._data), start, None),
            islice(iter_stored_files(self._data), start),
        )
        while batch := list(islice(files, _BATCH)):
            self._check(batch)
        self.last_ended = time.time()

    def _check(self, batch: list[StoredFile]) -> None:
        for flaw in verify_files(self._data, repair=True, only=batch, pause=self._pause).flaws:
            print(f"{flaw.file}: {flaw.state}, {flaw.outcome}", flush=True)
            if flaw.private:
                self._lost.add(self._data / flaw.file)
            else:
                self.repaired += 1

    def _pause(self, size: int) -> None:
        self._never.wait(size / self._rate)

    def _run(self) -> None:
        delay = min(_START_DELAY, self._interval)
        while True:
            self._never.wait(delay)
            try:
                self.run_round()
                delay = self._interval
            except Exception as error:  # noqa: BLE001 - the next round may succeed
                print(f"the stored files could not be checked: {error!r}", flush=True)
                delay = min(_RETRY_DELAY, self._interval)
