"""Network settings of the host, with everything that depends on `all.disable_ipv6`.

Disabling IPv6 removes every address and route, `::1` included, and overwrites the setting of every
link; enabling it again restores nothing. So addresses, routes and the links' settings are the
metadata of that setting: saved when it is read, restored when it is written. The loopback keeps its
own value. All this takes many writes, so a write is recorded first, and the next request that reads
the setting finishes one that was interrupted.
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
DISABLE_IPV6_DEFAULT = "net.ipv6.conf.default.disable_ipv6"
_LOOPBACK = "net.ipv6.conf.lo.disable_ipv6"
_UNFINISHED = str(STATE_DIRECTORY / "unfinished")
_IPV6_ENABLED = "0"


def read_sysctl(host: HostPaths, key: str) -> Snapshot:
    """Return the value and a newline; None if the kernel has no such setting."""
    if key == DISABLE_IPV6_ALL:
        _finish_write(host)
    try:
        value = host.resolve_sysctl(key).read_text().strip()
    except FileNotFoundError:
        return Snapshot(content=None, version="absent")
    except OSError as error:
        raise TargetError(f"{key} cannot be read: {error.strerror}") from error
    content = f"{value}\n".encode()
    metadata = json.dumps(_save_ipv6(host)) if key == DISABLE_IPV6_ALL else ""
    return Snapshot(content=content, version=hashlib.sha256(content).hexdigest(), metadata=metadata)


def write_sysctl(
    host: HostPaths, key: str, content: bytes | None, expected_version: str, metadata: str = ""
) -> Snapshot:
    """Set a value if the setting is at the expected version. Raises WriteConflict, TargetError."""
    if content is None:
        raise TargetError(f"{key} cannot be removed")
    current = read_sysctl(host, key)
    if current.version != expected_version:
        raise WriteConflict(current.version)
    value = content.decode().strip()
    if key == DISABLE_IPV6_ALL:
        loopback = host.resolve_sysctl(_LOOPBACK).read_text().strip()
        pending = {"value": value, "frame": metadata, "loopback": loopback}
        path = host.resolve_file(_UNFINISHED)
        files.write_file(path, json.dumps(pending).encode(), "absent")
        _finish_write(host)
    else:
        _set(host.resolve_sysctl(key), value, key)
    result = read_sysctl(host, key)
    if result.content != f"{value}\n".encode():
        actual = (result.content or b"").decode().strip()
        raise TargetError(f"{key} was set to {value}, but is {actual}")
    return result


def read_link_settings(host: HostPaths) -> dict[str, str]:
    """Return disable_ipv6 of each link; `all` and `default` are among them."""
    folder = host.net / "ipv6/conf"
    settings = {}
    for path in sorted(folder.glob("*/disable_ipv6")) if folder.exists() else ():
        try:
            settings[path.parent.name] = path.read_text().strip()
        except OSError:  # the link was removed in the meantime
            continue
    return settings


def _finish_write(host: HostPaths) -> None:
    """Carry out the recorded write of `all.disable_ipv6`, if there is one."""
    path = host.resolve_file(_UNFINISHED)
    files.remove_leftovers(path.parent)
    record = files.read_file(path)
    if record.content is None:
        return
    pending = json.loads(record.content)
    try:
        _set(host.resolve_sysctl(DISABLE_IPV6_ALL), pending["value"], DISABLE_IPV6_ALL)
        _set(host.resolve_sysctl(_LOOPBACK), pending["loopback"], _LOOPBACK)
        if pending["value"] == _IPV6_ENABLED and pending["frame"]:
            _restore_ipv6(host, json.loads(pending["frame"]))
    finally:
        # an error is reported once; the write is not retried forever
        files.write_file(path, None, record.version)


def _save_ipv6(host: HostPaths) -> dict[str, Any]:
    return {
        "links": read_link_settings(host),
        "addresses": netlink.list_addresses(),
        "routes": netlink.list_routes(),
    }


def _restore_ipv6(host: HostPaths, saved: dict[str, Any]) -> None:
    """Restore the setting of every link (`all` has set `default` too), addresses and routes."""
    current = read_link_settings(host)
    for link, value in saved["links"].items():
        if link not in {"all", "lo"} and link in current and current[link] != value:
            path = host.net / "ipv6/conf" / link / "disable_ipv6"
            _set(path, value, f"disable_ipv6 of {link}")
    failures = netlink.restore(saved["addresses"], saved["routes"])
    if failures:
        raise TargetError(
            f"IPv6 is enabled, but not everything was restored: {'; '.join(failures)}"
        )


def _set(path: Path, value: str, name: str) -> None:
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        raise TargetError(f"{name} cannot be set: {error.strerror}") from error
