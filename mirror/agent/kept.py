"""Standing orders: what a node gets by itself when its agent starts, and how it is undone.

A node that joins later, or was away, has nobody to ask it: its agent brings it to the orders when
it starts. What stood there before is kept on the node, in /etc/pypi-mirror, until it is released.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mirror.agent import files, pages, sysctls
from mirror.agent.content import as_bytes, as_text
from mirror.agent.place import OURS, Place, Refused

ORDERS = Path("/orders/orders.json")
ORDERED = ("host-sysctl",)  # the fix whose they are


def kept(place: Place) -> list[dict[str, Any]]:
    """The previous values on this node, the first written first."""
    folder = place.file(str(OURS / "x")).parent
    pages = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [json.loads(page.read_text()) for page in pages]


def follow(place: Place, orders: Path = ORDERS) -> list[str]:
    """Bring this node to the orders; what was done, or could not be, in words."""
    if not orders.exists():
        return release(place)  # they were withdrawn while this node was away
    told = []
    for number, order in enumerate(json.loads(orders.read_text())):
        target = order["target"]
        try:
            done = _follow(place, order, number)
        except (Refused, files.Moved, OSError) as broken:
            told.append(f"{target}: {broken}")
        else:
            told += [f"{target}: written"] if done else []
    return told


def release(place: Place) -> list[str]:
    """Undo what was done by order, the last first; what could not be, in words."""
    failed = []
    pages.drop(place, [t for page in kept(place) for t in sysctls.moved_by(page["target"])])
    for page in reversed(kept(place)):
        base, written = as_bytes(page["base"]), as_bytes(page["written"])
        try:
            now = read(place, page["target"])
            if now.content == written:
                write(place, page["target"], base, now.version, page["frame"])
            elif now.content != base:
                failed.append(f"{page['target']}: edited since, left as it is")
        except (Refused, files.Moved, OSError) as broken:
            failed.append(f"{page['target']}: {broken}")
            continue
        path = _page(place, page["number"])
        files.write(path, None, files.read(path).version)
    return failed


def read(place: Place, target: str) -> files.State:
    """A target by its name: a path, or a key of the network's settings."""
    if target.startswith("/"):
        path = place.file(target)
        files.sweep(path.parent)
        return files.read(path)
    return sysctls.read(place, target)


def write(
    place: Place, target: str, content: bytes | None, seen: str, frame: str = ""
) -> files.State:
    """Replace what was seen there."""
    if target.startswith("/"):
        return files.write(place.file(target), content, seen, frame)
    return sysctls.write(place, target, content, seen, frame)


def _follow(place: Place, order: dict[str, str], number: int) -> bool:
    now = read(place, order["target"])
    wanted = order["content"].encode()
    if now.content == wanted or (now.content is None and not order["target"].startswith("/")):
        return False
    path = _page(place, number)
    if not path.exists():
        page = {
            "number": number,
            "target": order["target"],
            "base": as_text(now.content),
            "written": as_text(wanted),
            "frame": now.frame,
            "sha256": hashlib.sha256(now.content or b"").hexdigest(),
        }
        files.write(path, json.dumps(page).encode(), "absent")
    write(place, order["target"], wanted, now.version)
    return True


def _page(place: Place, number: int) -> Path:
    return place.file(str(OURS / f"{number:03}.json"))
