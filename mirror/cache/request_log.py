"""Count the requests that nginx has answered, from its log (mirror/nginx.py has the format).

nginx answers most requests without asking the cache. It logs neither probes nor our own requests.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock

MAX_BYTES = 4 * 1024**2  # of the log; then it is emptied
READ_INTERVAL = 20.0  # seconds between two readings that keep it short


class RequestLog:
    """Counters since the start; None in place of ``path`` counts nothing. Thread-safe.

    ``requests`` is by kind and status, ``hits`` (answered without asking the cache) and
    ``sent_bytes`` are by kind.
    """

    def __init__(self, path: Path | None) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.hits: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()
        self.is_available = path is not None
        self._path = path
        self._position = 0
        self._rest = b""  # the start of a line that nginx has not written to its end
        self._lock = Lock()
        self._empty()

    def count(self, *kinds: str) -> int:
        """Return the number of requests of some kinds."""
        return sum(number for (kind, _), number in self.requests.items() if kind in kinds)

    def read(self) -> None:
        """Count what nginx has logged since the last reading; empty the log if it is long."""
        if self._path is None:
            return
        with self._lock, suppress(OSError), self._path.open("rb") as log:
            if os.fstat(log.fileno()).st_size < self._position:
                self._position, self._rest = 0, b""  # somebody has emptied it
            log.seek(self._position)
            lines, newline, rest = (self._rest + log.read()).rpartition(b"\n")
            self._position = log.tell()
            self._rest = rest if newline else lines + rest
            if newline:
                self._count_lines(lines)
            if self._position > MAX_BYTES:
                self._empty()

    def _count_lines(self, lines: bytes) -> None:
        for fields in _parse(lines):
            kind, status, size, upstream_status = fields
            self.requests[kind, status] += 1
            self.sent_bytes[kind] += int(size)
            self.hits[kind] += upstream_status == "-"

    def _empty(self) -> None:
        """Truncate the log, to which nginx appends; lines of the last few microseconds are lost."""
        if self._path is not None:
            with suppress(OSError):
                os.truncate(self._path, 0)
        self._position, self._rest = 0, b""


def _parse(lines: bytes) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, status, body bytes and upstream status of each line; skip what is none."""
    for line in lines.decode("ascii", "replace").split("\n"):
        fields = line.split(" ", 3)
        if len(fields) == 4 and fields[1].isdecimal() and fields[2].isdecimal():
            yield fields[0], fields[1], fields[2], fields[3]
