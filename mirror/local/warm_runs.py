"""Work beside the mirror of this machine that outlives the command that asked for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mirror.local.mirror import LocalMirror
from mirror.local.processes import BackgroundProcesses
from mirror.settings import Endpoint
from mirror.warm.request import WarmProgress, WarmReport, WarmRequest, parse_latest_progress

_KEPT = 10  # orders and logs of earlier runs


class WarmRuns:
    """The warmings of this user's mirror, each named by the mark of its order."""

    def __init__(self, here: LocalMirror) -> None:
        self._folder = here.state_dir / "warm"
        self._processes = BackgroundProcesses(self._folder)

    def start(self, endpoint: Endpoint, order: WarmRequest, at_once: int) -> str:
        """Start, or find the one that does the same already; its name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = order.digest
        if self.is_running(name):
            return name
        self._forget()
        path = self._folder / f"{name}.order"
        path.write_bytes(order.to_bytes())
        words = ["-m", "mirror.warm", "--index", endpoint.url, "--order", str(path)]
        argv = (sys.executable, *words, "--at-once", str(at_once))
        self._processes.start(name, argv, dict(os.environ))
        return name

    def find_latest(self) -> str | None:
        """The one that was started last."""
        known = self._processes.read_records()
        return max(known, key=lambda name: known[name].created) if known else None

    def is_running(self, name: str) -> bool:
        found = self._processes.read_records().get(name)
        return found is not None and found.find() is not None

    def read_progress(self, name: str) -> WarmProgress | WarmReport | None:
        """How far it is, or how it ended."""
        log = self._processes.log_path(name)
        return parse_latest_progress(log.read_text(errors="replace")) if log.exists() else None

    def read_log_tail(self, name: str) -> str:
        """Its last lines, for who looks for a cause."""
        return self._processes.read_log_tail(name)

    def _forget(self) -> None:
        def age(path: Path) -> float:
            return path.stat().st_mtime

        for pattern in ("*.order", "*.log"):
            for old in sorted(self._folder.glob(pattern), key=age)[:-_KEPT]:
                if not self.is_running(old.stem):
                    old.unlink(missing_ok=True)
