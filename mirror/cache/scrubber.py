"""What rots on the volume is found by itself: all that is kept is hashed again, slowly, for ever.

A cached file that is wrong is removed and comes with the next request; an upload is set aside, as
`mirror verify --repair` does it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from mirror.store.layout import StoredFile, iter_stored_files, iter_uploads
from mirror.store.verify import verify_files

INTERVAL = 24 * 3600.0  # seconds from the end of one round to the next
READ_RATE = 8 * 1024**2  # bytes a second: a hundredth of a core
_SETTLE = 600.0  # seconds after the start, which has other things to do
_AGAIN = 600.0  # seconds after a round that failed
_AT_ONCE = 20  # files that are looked at before what is wrong is mended


class Scrubber:
    """The rounds over one data folder."""

    def __init__(self, data: Path, *, interval: float = INTERVAL, rate: float = READ_RATE) -> None:
        self.repaired = 0  # since the start
        self.last_ended: float | None = None  # when the last round did (epoch)
        self._data = data
        self._every = interval
        self._rate = rate
        self._lost: set[Path] = set()
        self._never = threading.Event()

    def start(self) -> None:
        """In the background."""
        threading.Thread(target=self._run, name="scrub", daemon=True).start()

    def lost_uploads(self) -> list[str]:
        """Names of uploads that are recorded and not there, or were set aside."""
        return sorted({path.name for path in list(self._lost) if not path.exists()})

    def run_round(self) -> None:
        """Look at everything once. It begins anywhere: restarts leave no end that is never seen."""
        self._lost = {one.path for one in iter_uploads(self._data) if not one.path.exists()}
        number = sum(1 for _ in iter_stored_files(self._data))
        begin = random.randrange(number) if number else 0
        order = chain(
            islice(iter_stored_files(self._data), begin, None),
            islice(iter_stored_files(self._data), begin),
        )
        while some := list(islice(order, _AT_ONCE)):
            self._look(some)
        self.last_ended = time.time()

    def _look(self, some: list[StoredFile]) -> None:
        for flaw in verify_files(self._data, repair=True, only=some, pause=self._pause).flaws:
            print(f"{flaw.file}: {flaw.state}, {flaw.outcome}", flush=True)
            if flaw.private:
                self._lost.add(self._data / flaw.file)
            else:
                self.repaired += 1

    def _pause(self, size: int) -> None:
        self._never.wait(size / self._rate)

    def _run(self) -> None:
        for seconds in self._waits():
            self._never.wait(seconds)

    def _waits(self) -> Iterator[float]:
        yield min(_SETTLE, self._every)
        while True:
            try:
                self.run_round()
                yield self._every
            except Exception as broken:  # noqa: BLE001 - it is only a look; the next one comes
                print(f"what is kept could not be looked at: {broken!r}", flush=True)
                yield min(_AGAIN, self._every)
