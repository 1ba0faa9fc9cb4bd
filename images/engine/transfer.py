"""Layers on their way, as megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.core.progress import Progress


class TransferProgress:
    """Told only when they change."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._layers: dict[str, tuple[int, int]] = {}  # bytes moved, bytes in all
        self._told = (0, 0)

    def update(self, event: Mapping[str, Any]) -> None:
        name, detail = str(event.get("id", "")), event.get("progressDetail") or {}
        if event.get("status") in {"Downloading", "Pushing"} and detail.get("total"):
            total = int(detail["total"])
            self._layers[name] = (min(int(detail.get("current", 0)), total), total)
        elif event.get("status") in {"Download complete", "Pushed"} and name in self._layers:
            self._layers[name] = (self._layers[name][1],) * 2
        done = sum(moved for moved, _ in self._layers.values()) // 10**6
        total = sum(whole for _, whole in self._layers.values()) // 10**6
        if (done, total) != self._told:
            self._told = (done, total)
            self._progress.count(done, total, "MB")
