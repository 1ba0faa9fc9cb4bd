"""Node defaults: files and settings that a node gets when its agent starts, and their removal.

A node that joins later, or was down, receives no request, so its agent writes the defaults when it
starts. The previous values stay on the node, in /etc/pypi-mirror, until the defaults are reverted.

The defaults are a ConfigMap in kube-system. The agent obeys only what `mirror fix host-sysctl` can
have put there; anything else is reported, and changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mirror.agent import allowlist, desired_state, files
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.agent.targets import is_file, list_affected, read_target, write_target
from mirror.snapshot import WriteConflict, decode_content, encode_content

DEFAULTS_FILE = Path("/orders/orders.json")
DEFAULTS_FIXES = ("host-sysctl",)  # the fix that publishes the defaults
SCHEMA = 1  # of a default; those of version 0.1.0 have no number
_MAX_SIZE = 64 << 10  # bytes of all defaults
_MAX_LINES = 10  # that report defaults


def read_applied(host: HostPaths) -> list[dict[str, Any]]:
    """Return a record of each default written on this node, in the order of writing.

    A damaged record is left out: `find_rejected` reports it.
    """
    records = [_read_record(host, name) for name in _list_records(host)]
    return [record for record in records if record is not None]


def find_rejected(host: HostPaths, defaults_file: Path = DEFAULTS_FILE) -> list[str]:
    """Return a line for each default that the agent does not obey, and each damaged record."""
    _, rejected = _read_defaults(defaults_file) if defaults_file.exists() else ([], [])
    damaged = [name for name in _list_records(host) if _read_record(host, name) is None]
    return rejected + [f"{STATE_DIRECTORY}/{name} is damaged" for name in damaged]


def apply_defaults(host: HostPaths, defaults_file: Path = DEFAULTS_FILE) -> list[str]:
    """Write missing defaults or revert withdrawn ones; return a line per write and error.

    If the whole file cannot be read, nothing is written and nothing is reverted.
    """
    if not defaults_file.exists():
        return revert_defaults(host)
    defaults, lines = _read_defaults(defaults_file)
    for target, content in defaults:
        try:
            written = _apply(host, target, content)
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
        path = _locate_record(record["number"])
        files.write_file(host, path, None, files.read_file(host, path).version)
    return failures


def _read_defaults(defaults_file: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Return (target, content) of each valid default, and a line for each other one."""
    try:
        with defaults_file.open("rb") as file:
            text = file.read(_MAX_SIZE + 1)
        if len(text) > _MAX_SIZE:
            raise ValueError(f"more than {_MAX_SIZE} bytes")
        defaults = json.loads(text)
        if not isinstance(defaults, list):
            raise TypeError("not a list")
    except (OSError, TypeError, ValueError, RecursionError) as error:
        return [], [f"the node defaults cannot be read, and none is obeyed: {error}"]
    valid: dict[str, bytes] = {}
    rejected = []
    for default in defaults:
        try:
            target, content = _parse_default(default)
            if target in valid:
                raise TargetError(f"{target} has a second default")
            valid[target] = content
        except TargetError as error:
            rejected.append(f"a node default is not obeyed: {error}")
    if len(rejected) > _MAX_LINES:
        rejected[_MAX_LINES:] = [f"and {len(rejected) - _MAX_LINES} more are not obeyed"]
    return list(valid.items()), rejected


def _parse_default(default: Any) -> tuple[str, bytes]:
    if not isinstance(default, dict) or not isinstance(default.get("target"), str):
        raise TargetError(f"it has no target: {default!r:.120}")
    target, content = default["target"], default.get("content")
    if default.get("schema", SCHEMA) != SCHEMA:
        raise TargetError(f"{target!r:.120} was written by another version (schema is not 1)")
    if not isinstance(content, str):
        raise TargetError(f"{target!r:.120} has no content")
    encoded = content.encode(errors="surrogatepass")
    allowlist.check_node_default(target, encoded)
    return target, encoded


def _apply(host: HostPaths, target: str, content: bytes) -> bool:
    """Write one default after recording the previous value; return whether it was necessary."""
    current = read_target(host, target)
    if current.content == content or (current.content is None and not is_file(target)):
        return False
    records = read_applied(host)
    if target not in {record["target"] for record in records}:
        number = max((record["number"] for record in records), default=-1) + 1
        record = {
            "number": number,
            "target": target,
            "base": encode_content(current.content),
            "written": encode_content(content),
            "frame": current.metadata,
        }
        files.write_file(host, _locate_record(number), json.dumps(record).encode(), "absent")
    write_target(host, target, content, current.version)
    return True


def _list_records(host: HostPaths) -> list[str]:
    try:
        names = files.list_folder(host, str(STATE_DIRECTORY))
    except TargetError:  # it was never this agent's folder
        return []
    return [name for name in names if name.endswith(".json")]


def _read_record(host: HostPaths, name: str) -> dict[str, Any] | None:
    try:
        record = json.loads(files.read_file(host, f"{STATE_DIRECTORY}/{name}").content or b"")
        texts = [record["target"], record["frame"]]
        decode_content(record["base"])
        decode_content(record["written"])
        is_valid = all(isinstance(text, str) for text in texts)
        return record if is_valid and _locate_record(record["number"]).endswith(name) else None
    except (TargetError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _locate_record(number: int) -> str:
    return str(STATE_DIRECTORY / f"{number:03}.json")
