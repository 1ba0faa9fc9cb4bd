"""Settings of the host's network, with what goes and comes with `all.disable_ipv6`.

Turning IPv6 off takes every address and route away, `::1` too, and the settings of all links;
turning it on again brings none of it back. So they are the frame of that setting: taken while it
is read, put back when it is written. The loopback keeps its own setting. That takes many writes:
they are written down first, and whoever asks next finishes what was begun and not finished.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mirror.agent import files, netlink
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, TargetError
from mirror.snapshot import Snapshot, WriteConflict

DISABLE_IPV6_ALL = "net.ipv6.conf.all.disable_ipv6"
_DEFAULT = "net.ipv6.conf.default.disable_ipv6"
_LOOPBACK = "net.ipv6.conf.lo.disable_ipv6"
_UNFINISHED = str(STATE_DIRECTORY / "unfinished")
_ON = "0"


def read_sysctl(place: HostPaths, key: str) -> Snapshot:
    """The value and a newline; content None where the kernel has no such setting."""
    if key == DISABLE_IPV6_ALL:
        _finish(place)
    try:
        value = place.resolve_sysctl(key).read_text().strip()
    except FileNotFoundError:
        return Snapshot(content=None, version="absent")
    except OSError as broken:
        raise TargetError(f"{key} cannot be read: {broken.strerror}") from broken
    content = f"{value}\n".encode()
    frame = json.dumps(_snapshot(place)) if key == DISABLE_IPV6_ALL else ""
    return Snapshot(content=content, version=hashlib.sha256(content).hexdigest(), metadata=frame)


def write_sysctl(
    place: HostPaths, key: str, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Set it, while it is of version ``seen``. Raises Moved, Refused (read-only, no such key)."""
    if content is None:
        raise TargetError(f"{key} cannot be removed")
    now = read_sysctl(place, key)
    if now.version != expected_version:
        raise WriteConflict(now.version)
    value = content.decode().strip()
    if key == DISABLE_IPV6_ALL:
        lo = place.resolve_sysctl(_LOOPBACK)
        begun = {"value": value, "frame": metadata, "loopback": lo.read_text().strip()}
        path = place.resolve_file(_UNFINISHED)
        files.write_file(path, json.dumps(begun).encode(), "absent")
        _finish(place)
    else:
        _put(place.resolve_sysctl(key), value, key)
    after = read_sysctl(place, key)
    if after.content != f"{value}\n".encode():
        raise TargetError(
            f"{key} was set to {value} and is {(after.content or b'').decode().strip()}"
        )
    return after


def affected_targets(target: str) -> tuple[str, ...]:
    """All that changes when this target is written: with `all` the setting of links to come."""
    return (DISABLE_IPV6_ALL, _DEFAULT) if target == DISABLE_IPV6_ALL else (target,)


def read_link_settings(place: HostPaths) -> dict[str, str]:
    """Link → its disable_ipv6; `all` and `default` among them."""
    folder = place.net / "ipv6/conf"
    found = {}
    for one in sorted(folder.glob("*/disable_ipv6")) if folder.exists() else ():
        try:
            found[one.parent.name] = one.read_text().strip()
        except OSError:  # the link went away meanwhile
            continue
    return found


def _finish(place: HostPaths) -> None:
    """All that belongs to `all.disable_ipv6`, as it was begun; nothing where nothing was."""
    path = place.resolve_file(_UNFINISHED)
    files.remove_leftovers(path.parent)
    page = files.read_file(path)
    if page.content is None:
        return
    begun = json.loads(page.content)
    try:
        _put(place.resolve_sysctl(DISABLE_IPV6_ALL), begun["value"], DISABLE_IPV6_ALL)
        _put(place.resolve_sysctl(_LOOPBACK), begun["loopback"], _LOOPBACK)
        if begun["value"] == _ON and begun["frame"]:
            _restore(place, json.loads(begun["frame"]))
    finally:
        # what failed is told once: it is not tried for ever
        files.write_file(path, None, page.version)


def _snapshot(place: HostPaths) -> dict[str, Any]:
    return {
        "links": read_link_settings(place),
        "addresses": netlink.list_addresses(),
        "routes": netlink.list_routes(),
    }


def _restore(place: HostPaths, frame: dict[str, Any]) -> None:
    """Links that were off before stay off, `default` (which `all` sets too) as it was."""
    now = read_link_settings(place)
    for name, value in frame["links"].items():
        if name not in {"all", "lo"} and name in now and now[name] != value:
            path = place.net / "ipv6/conf" / name / "disable_ipv6"
            _put(path, value, f"disable_ipv6 of {name}")
    failed = netlink.restore(frame["addresses"], frame["routes"])
    if failed:
        raise TargetError("IPv6 is on again, but not all came back: " + "; ".join(failed))


def _put(path: Path, value: str, name: str) -> None:
    try:
        path.write_text(f"{value}\n")
    except OSError as broken:
        raise TargetError(f"{name} cannot be set: {broken.strerror}") from broken
