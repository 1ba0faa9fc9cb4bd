"""Work beside the mirror of this machine that outlives the command that asked for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mirror.local import LocalMirror
from mirror.order import Order, Step, Warmed, last_told
from mirror.processes import Processes
from mirror.settings import Endpoint

_KEPT = 10  # orders and logs of earlier runs


class Beside:
    """The warmings of this user's mirror, each named by the mark of its order."""

    def __init__(self, here: LocalMirror) -> None:
        self._folder = here.state / "warm"
        self._processes = Processes(self._folder)

    def start(self, endpoint: Endpoint, order: Order, at_once: int) -> str:
        """Start, or find the one that does the same already; its name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = order.mark
        if self.running(name):
            return name
        self._forget()
        path = self._folder / f"{name}.order"
        path.write_bytes(order.to_bytes())
        words = ["-m", "mirror.warm", "--index", endpoint.url, "--order", str(path)]
        argv = (sys.executable, *words, "--at-once", str(at_once))
        self._processes.start(name, argv, dict(os.environ))
        return name

    def newest(self) -> str | None:
        """The one that was started last."""
        known = self._processes.known()
        return max(known, key=lambda name: known[name].created) if known else None

    def running(self, name: str) -> bool:
        found = self._processes.known().get(name)
        return found is not None and found.find() is not None

    def told(self, name: str) -> Step | Warmed | None:
        """How far it is, or how it ended."""
        log = self._processes.log(name)
        return last_told(log.read_text(errors="replace")) if log.exists() else None

    def tail(self, name: str) -> str:
        """Its last lines, for who looks for a cause."""
        return self._processes.tail(name)

    def _forget(self) -> None:
        def age(path: Path) -> float:
            return path.stat().st_mtime

        for pattern in ("*.order", "*.log"):
            for old in sorted(self._folder.glob(pattern), key=age)[:-_KEPT]:
                if not self.running(old.stem):
                    old.unlink(missing_ok=True)
