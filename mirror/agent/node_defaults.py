"""Node defaults: files and settings that a node gets when its agent starts, and their removal.

A node that joins later, or was down, receives no request, so its agent writes the defaults when it
starts. The previous values stay on the node, in /etc/pypi-mirror, until the defaults are reverted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirror.agent import desired_state, files
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.agent.targets import is_file, list_affected, read_target, write_target
from mirror.snapshot import WriteConflict, decode_content, encode_content

DEFAULTS_FILE = Path("/orders/orders.json")
DEFAULTS_FIXES = ("host-sysctl",)  # the fix that publishes the defaults


def read_applied(host: HostPaths) -> list[dict[str, Any]]:
    """Return a record of each default written on this node, in the order of writing."""
    folder = host.resolve_file(str(STATE_DIRECTORY / "x")).parent
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [json.loads(path.read_text()) for path in paths]


def apply_defaults(host: HostPaths, defaults_file: Path = DEFAULTS_FILE) -> list[str]:
    """Write missing defaults or revert withdrawn ones; return a line per write and error."""
    if not defaults_file.exists():
        return revert_defaults(host)
    lines = []
    for number, default in enumerate(json.loads(defaults_file.read_text())):
        target = default["target"]
        try:
            written = _apply(host, target, default["content"].encode(), number)
        except (TargetError, WriteConflict, OSError) as error:
            lines.append(f"{target}: {error}")
        else:
            lines += [f"{target}: written"] if written else []
    return lines


def revert_defaults(host: HostPaths) -> list[str]:
    """Restore the previous values, the last written first; return a line for each error."""
    failures = []
    records = read_applied(host)
    desired_state.remove(
        host, [target for record in records for target in list_affected(record["target"])]
    )
    for record in reversed(records):
        target = record["target"]
        base, written = decode_content(record["base"]), decode_content(record["written"])
        try:
            current = read_target(host, target)
            if current.content == written:
                write_target(host, target, base, current.version, record["frame"])
            elif current.content != base:
                failures.append(f"{target}: edited since, left unchanged")
        except (TargetError, WriteConflict, OSError) as error:
            failures.append(f"{target}: {error}")
            continue
        path = _resolve_record(host, record["number"])
        files.write_file(path, None, files.read_file(path).version)
    return failures


def _apply(host: HostPaths, target: str, content: bytes, number: int) -> bool:
    """Write one default after recording the previous value; return whether it was necessary."""
    current = read_target(host, target)
    if current.content == content or (current.content is None and not is_file(target)):
        return False
    path = _resolve_record(host, number)
    if not path.exists():
        record = {
            "number": number,
            "target": target,
            "base": encode_content(current.content),
            "written": encode_content(content),
            "frame": current.metadata,
        }
        files.write_file(path, json.dumps(record).encode(), "absent")
    write_target(host, target, content, current.version)
    return True


def _resolve_record(host: HostPaths, number: int) -> Path:
    return host.resolve_file(str(STATE_DIRECTORY / f"{number:03}.json"))
