"""Standing orders: what a node gets by itself when its agent starts, and how it is undone.

A node that joins later, or was away, has nobody to ask it: its agent brings it to the orders when
it starts. What stood there before is kept on the node, in /etc/pypi-mirror, until it is released.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mirror.agent import desired_state, files, sysctls
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.snapshot import Snapshot, WriteConflict, decode_content, encode_content

DEFAULTS_FILE = Path("/orders/orders.json")
DEFAULTS_FIXES = ("host-sysctl",)  # the fix whose they are


def read_applied(place: HostPaths) -> list[dict[str, Any]]:
    """The previous values on this node, the first written first."""
    folder = place.resolve_file(str(STATE_DIRECTORY / "x")).parent
    pages = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [json.loads(page.read_text()) for page in pages]


def apply_defaults(host: HostPaths, defaults_file: Path = DEFAULTS_FILE) -> list[str]:
    """Bring this node to the orders; what was done, or could not be, in words."""
    if not defaults_file.exists():
        return revert_defaults(host)  # they were withdrawn while this node was away
    told = []
    for number, order in enumerate(json.loads(defaults_file.read_text())):
        target = order["target"]
        try:
            done = _follow(host, order, number)
        except (TargetError, WriteConflict, OSError) as broken:
            told.append(f"{target}: {broken}")
        else:
            told += [f"{target}: written"] if done else []
    return told


def revert_defaults(host: HostPaths) -> list[str]:
    """Undo what was done by order, the last first; what could not be, in words."""
    failed = []
    desired_state.remove(
        host, [t for page in read_applied(host) for t in sysctls.affected_targets(page["target"])]
    )
    for page in reversed(read_applied(host)):
        base, written = decode_content(page["base"]), decode_content(page["written"])
        try:
            now = read_target(host, page["target"])
            if now.content == written:
                write_target(host, page["target"], base, now.version, page["frame"])
            elif now.content != base:
                failed.append(f"{page['target']}: edited since, left as it is")
        except (TargetError, WriteConflict, OSError) as broken:
            failed.append(f"{page['target']}: {broken}")
            continue
        path = _page(host, page["number"])
        files.write_file(path, None, files.read_file(path).version)
    return failed


def read_target(place: HostPaths, target: str) -> Snapshot:
    """A target by its name: a path, or a key of the network's settings."""
    if target.startswith("/"):
        path = place.resolve_file(target)
        files.remove_leftovers(path.parent)
        return files.read_file(path)
    return sysctls.read_sysctl(place, target)


def write_target(
    place: HostPaths, target: str, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Replace what was seen there."""
    if target.startswith("/"):
        return files.write_file(place.resolve_file(target), content, expected_version, metadata)
    return sysctls.write_sysctl(place, target, content, expected_version, metadata)


def _follow(place: HostPaths, order: dict[str, str], number: int) -> bool:
    now = read_target(place, order["target"])
    wanted = order["content"].encode()
    if now.content == wanted or (now.content is None and not order["target"].startswith("/")):
        return False
    path = _page(place, number)
    if not path.exists():
        page = {
            "number": number,
            "target": order["target"],
            "base": encode_content(now.content),
            "written": encode_content(wanted),
            "frame": now.metadata,
            "sha256": hashlib.sha256(now.content or b"").hexdigest(),
        }
        files.write_file(path, json.dumps(page).encode(), "absent")
    write_target(place, order["target"], wanted, now.version)
    return True


def _page(place: HostPaths, number: int) -> Path:
    return place.resolve_file(str(STATE_DIRECTORY / f"{number:03}.json"))
