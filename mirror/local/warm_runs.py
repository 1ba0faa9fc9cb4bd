"""Warm runs as background processes of this machine."""

from __future__ import annotations

import sys

from mirror.local.mirror import LocalMirror
from mirror.local.processes import BackgroundProcesses
from mirror.settings import Endpoint
from mirror.warm.request import WarmProgress, WarmReport, WarmRequest, parse_latest_progress

_KEEP_RUNS = 10  # requests and logs of earlier runs


class WarmRuns:
    """The warm runs of this user's local mirror, each named by the digest of its request."""

    def __init__(self, local_mirror: LocalMirror) -> None:
        self._folder = local_mirror.paths.warm_dir
        self._processes = BackgroundProcesses(self._folder)

    def start(self, endpoint: Endpoint, request: WarmRequest, concurrency: int) -> str:
        """Start a run and return its name. If the same request is already running, return that."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = request.digest
        if self.is_running(name):
            return name
        self._remove_old_runs()
        path = self._folder / f"{name}.order"
        path.write_bytes(request.to_bytes())
        options = ("--index", endpoint.url, "--order", str(path), "--at-once", str(concurrency))
        argv = (sys.executable, "-m", "mirror.warm", *options)
        self._processes.start(name, argv)
        return name

    def find_latest(self) -> str | None:
        """Return the name of the run that was started last."""
        records = self._processes.read_records()
        return max(records, key=lambda name: records[name].created) if records else None

    def is_running(self, name: str) -> bool:
        record = self._processes.read_records().get(name)
        return record is not None and record.find() is not None

    def read_progress(self, name: str) -> WarmProgress | WarmReport | None:
        """Return the latest progress of a run, or its report once it has finished."""
        log = self._processes.log_path(name)
        return parse_latest_progress(log.read_text(errors="replace")) if log.exists() else None

    def read_log_tail(self, name: str) -> str:
        """Return the last lines of a run's log, to explain why it failed."""
        return self._processes.read_log_tail(name)

    def _remove_old_runs(self) -> None:
        for pattern in ("*.order", "*.log"):
            paths = sorted(self._folder.glob(pattern), key=lambda path: path.stat().st_mtime)
            for path in paths[:-_KEEP_RUNS]:
                if not self.is_running(path.stem):
                    path.unlink(missing_ok=True)
