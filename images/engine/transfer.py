"""The progress of a pull or push."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror.core.progress import Progress


class TransferProgress:
    """Adds up the layers of a transfer and shows the sum in megabytes, each time it changes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._layers: dict[str, tuple[int, int]] = {}  # bytes transferred, bytes in total
        self._shown = (0, 0)

    def update(self, event: Mapping[str, Any]) -> None:
        layer, detail = str(event.get("id", "")), event.get("progressDetail") or {}
        if event.get("status") in {"Downloading", "Pushing"} and detail.get("total"):
            total = int(detail["total"])
            self._layers[layer] = (min(int(detail.get("current", 0)), total), total)
        elif event.get("status") in {"Download complete", "Pushed"} and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2
        done = sum(done for done, _ in self._layers.values()) // 10**6
        total = sum(total for _, total in self._layers.values()) // 10**6
        if (done, total) != self._shown:
            self._shown = (done, total)
            self._progress.count(done, total, "MB")
