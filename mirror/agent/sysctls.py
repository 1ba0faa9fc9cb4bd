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
from contextlib import suppress
from pathlib import Path
from typing import Any

from mirror.agent import files, netlink
from mirror.agent.allowlist import DISABLE_IPV6_ALL, DISABLE_IPV6_LOOPBACK
from mirror.agent.host_paths import STATE_DIRECTORY, HostPaths, NotAllowedError, TargetError
from mirror.snapshot import Snapshot, WriteConflict

_UNFINISHED = str(STATE_DIRECTORY / "unfinished")
_IPV6_ENABLED = "0"
_MAX_SAVED = 1 << 20  # characters of the saved addresses and routes


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
        check_saved(metadata)
        loopback = host.resolve_sysctl(DISABLE_IPV6_LOOPBACK).read_text().strip()
        pending = {"value": value, "frame": metadata, "loopback": loopback}
        files.write_file(host, _UNFINISHED, json.dumps(pending).encode(), "absent")
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
        with suppress(OSError):  # the link was removed in the meantime
            settings[path.parent.name] = path.read_text().strip()
    return settings


def _finish_write(host: HostPaths) -> None:
    """Carry out the recorded write of `all.disable_ipv6`, if there is one."""
    files.remove_leftovers(host, _UNFINISHED)
    record = files.read_file(host, _UNFINISHED)
    if record.content is None:
        return
    try:
        pending = json.loads(record.content)
        if not {pending["value"], pending["loopback"]} <= {"0", "1"}:
            raise ValueError("a value is neither 0 nor 1")
        _set(host.resolve_sysctl(DISABLE_IPV6_ALL), pending["value"], DISABLE_IPV6_ALL)
        _set(host.resolve_sysctl(DISABLE_IPV6_LOOPBACK), pending["loopback"], DISABLE_IPV6_LOOPBACK)
        if pending["value"] == _IPV6_ENABLED and pending["frame"]:
            _restore_ipv6(host, json.loads(pending["frame"]))
    except (KeyError, TypeError, ValueError) as error:
        raise TargetError(f"{_UNFINISHED} was altered: {error}") from None
    finally:
        # an error is reported once; the write is not retried forever
        files.write_file(host, _UNFINISHED, None, record.version)


def check_saved(text: str) -> None:
    """Raise NotAllowedError unless this is what _save_ipv6 returns: it comes from the ledger."""
    if not text:
        return
    try:
        if len(text) > _MAX_SAVED:
            raise ValueError(f"{len(text)} characters")
        saved = json.loads(text)
        if any(value not in ("0", "1") for value in saved["links"].values()):
            raise ValueError("a link's setting is neither 0 nor 1")
        for address in saved["addresses"]:
            netlink.check_address(address)
        for route in saved["routes"]:
            netlink.check_route(route)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise NotAllowedError(
            f"the stored addresses and routes are not what the agent saves: {error}"
        ) from None


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
