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
from mirror.agent.files import Moved, State
from mirror.agent.place import OURS, Place, Refused

ALL = "net.ipv6.conf.all.disable_ipv6"
_DEFAULT = "net.ipv6.conf.default.disable_ipv6"
_LOOPBACK = "net.ipv6.conf.lo.disable_ipv6"
_UNFINISHED = str(OURS / "unfinished")
_ON = "0"


def read(place: Place, key: str) -> State:
    """The value and a newline; content None where the kernel has no such setting."""
    if key == ALL:
        _finish(place)
    try:
        value = place.sysctl(key).read_text().strip()
    except FileNotFoundError:
        return State(content=None, version="absent")
    except OSError as broken:
        raise Refused(f"{key} cannot be read: {broken.strerror}") from broken
    content = f"{value}\n".encode()
    frame = json.dumps(_snapshot(place)) if key == ALL else ""
    return State(content=content, version=hashlib.sha256(content).hexdigest(), frame=frame)


def write(place: Place, key: str, content: bytes | None, seen: str, frame: str = "") -> State:
    """Set it, while it is of version ``seen``. Raises Moved, Refused (read-only, no such key)."""
    if content is None:
        raise Refused(f"{key} cannot be removed")
    now = read(place, key)
    if now.version != seen:
        raise Moved(now.version)
    value = content.decode().strip()
    if key == ALL:
        lo = place.sysctl(_LOOPBACK)
        begun = {"value": value, "frame": frame, "loopback": lo.read_text().strip()}
        path = place.file(_UNFINISHED)
        files.write(path, json.dumps(begun).encode(), "absent")
        _finish(place)
    else:
        _put(place.sysctl(key), value, key)
    after = read(place, key)
    if after.content != f"{value}\n".encode():
        raise Refused(f"{key} was set to {value} and is {(after.content or b'').decode().strip()}")
    return after


def moved_by(target: str) -> tuple[str, ...]:
    """All that changes when this target is written: with `all` the setting of links to come."""
    return (ALL, _DEFAULT) if target == ALL else (target,)


def links(place: Place) -> dict[str, str]:
    """Link → its disable_ipv6; `all` and `default` among them."""
    folder = place.net / "ipv6/conf"
    found = {}
    for one in sorted(folder.glob("*/disable_ipv6")) if folder.exists() else ():
        try:
            found[one.parent.name] = one.read_text().strip()
        except OSError:  # the link went away meanwhile
            continue
    return found


def _finish(place: Place) -> None:
    """All that belongs to `all.disable_ipv6`, as it was begun; nothing where nothing was."""
    path = place.file(_UNFINISHED)
    files.sweep(path.parent)
    page = files.read(path)
    if page.content is None:
        return
    begun = json.loads(page.content)
    try:
        _put(place.sysctl(ALL), begun["value"], ALL)
        _put(place.sysctl(_LOOPBACK), begun["loopback"], _LOOPBACK)
        if begun["value"] == _ON and begun["frame"]:
            _restore(place, json.loads(begun["frame"]))
    finally:
        # what failed is told once: it is not tried for ever
        files.write(path, None, page.version)


def _snapshot(place: Place) -> dict[str, Any]:
    return {
        "links": links(place),
        "addresses": netlink.addresses(),
        "routes": netlink.routes(),
    }


def _restore(place: Place, frame: dict[str, Any]) -> None:
    """Links that were off before stay off, `default` (which `all` sets too) as it was."""
    now = links(place)
    for name, value in frame["links"].items():
        if name not in {"all", "lo"} and name in now and now[name] != value:
            path = place.net / "ipv6/conf" / name / "disable_ipv6"
            _put(path, value, f"disable_ipv6 of {name}")
    failed = netlink.put_back(frame["addresses"], frame["routes"])
    if failed:
        raise Refused("IPv6 is on again, but not all came back: " + "; ".join(failed))


def _put(path: Path, value: str, name: str) -> None:
    try:
        path.write_text(f"{value}\n")
    except OSError as broken:
        raise Refused(f"{name} cannot be set: {broken.strerror}") from broken
