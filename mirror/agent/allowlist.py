"""What the agent may write, compiled into it: a few targets, and the changes that fixes make there.

The agent runs as root and cannot tell who sent a request, a ledger entry or a node default. So it
checks every change by its effect, whoever asks. Anything else raises NotAllowedError. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from mirror.agent.host_paths import ETC, MICROK8S_CNI_DIRECTORY, NotAllowedError

DISABLE_IPV6_ALL = "net.ipv6.conf.all.disable_ipv6"
DISABLE_IPV6_DEFAULT = "net.ipv6.conf.default.disable_ipv6"
DISABLE_IPV6_LOOPBACK = "net.ipv6.conf.lo.disable_ipv6"
BOOT_FILE = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf"
SYSCTL_CONF = "/etc/sysctl.conf"
CNI_FOLDERS = (str(ETC / "cni/net.d"), str(MICROK8S_CNI_DIRECTORY / "args/cni-network"))
# two entries: the plugin sets its keys in no particular order, and `all` removes ::1
TUNING_PLUGINS: tuple[Mapping[str, Any], ...] = (
    {"type": "tuning", "sysctl": {DISABLE_IPV6_ALL: "1", DISABLE_IPV6_DEFAULT: "1"}},
    {"type": "tuning", "sysctl": {DISABLE_IPV6_LOOPBACK: "0"}},
)
MAX_SIZE = 1 << 20  # bytes of a file

_CONFLIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.conflist")
_SETTINGS = frozenset({DISABLE_IPV6_ALL, DISABLE_IPV6_DEFAULT})
_VALUE = re.compile(rb"[01]\n?")
_ENTRY = re.compile(
    rb"[ \t]*-?net[./]ipv6[./]conf[./](?:all|default|lo)[./]disable_ipv6[ \t]*=[ \t]*[01][ \t\r]*"
)
_COMMENT = re.compile(rb"(?:[ \t]*[#;][\x20-\x7e\t]*)?[ \t\r]*")


def check_target(target: str) -> None:
    """Raise NotAllowedError unless this is a target that fixes read and write."""
    if target in _SETTINGS or target in (BOOT_FILE, SYSCTL_CONF) or is_conflist(target):
        return
    raise NotAllowedError(f"{target!r:.200} is not a file or setting that this agent handles")


def is_conflist(target: str) -> bool:
    """Whether a target is a CNI configuration list in a folder that a runtime reads."""
    folder, _, name = target.rpartition("/")
    return folder in CNI_FOLDERS and _CONFLIST_NAME.fullmatch(name) is not None


def check_change(target: str, current: bytes | None, content: bytes | None) -> None:
    """Raise NotAllowedError unless a fix, or its rollback, may replace ``current`` with this."""
    check_target(target)
    if content is not None and len(content) > MAX_SIZE:
        raise NotAllowedError(f"{target}: the new content has {len(content)} bytes")
    if target in _SETTINGS:
        _check_setting(target, current, content)
    elif target == BOOT_FILE:
        _check_boot_file(content)
    elif target == SYSCTL_CONF:
        _check_sysctl_conf(current, content)
    else:
        _check_conflist(target, current, content)


def check_node_default(target: str, content: bytes) -> None:
    """Raise NotAllowedError unless nodes that join get this from fix host-sysctl."""
    if target != BOOT_FILE and target not in _SETTINGS:
        raise NotAllowedError(f"{target!r:.200} is not a node default")
    if target == BOOT_FILE:
        _check_boot_file(content)
    elif content != b"1\n":
        raise NotAllowedError(f"{target}: a node default sets it to 1, not to {content!r:.40}")


def _check_setting(target: str, current: bytes | None, content: bytes | None) -> None:
    for value in (content, current):
        if value is None or not _VALUE.fullmatch(value):
            raise NotAllowedError(f"{target}: {value!r:.40} is neither 0 nor 1")


def _check_boot_file(content: bytes | None) -> None:
    """The file is the fix's own: it may be removed, or have the fix's keys."""
    for line in (content or b"").split(b"\n"):
        if not _ENTRY.fullmatch(line) and not _COMMENT.fullmatch(line):
            raise NotAllowedError(f"{BOOT_FILE}: the fix does not write the line {line!r:.120}")


def _check_sysctl_conf(current: bytes | None, content: bytes | None) -> None:
    """Only lines that set disable_ipv6 may come or go."""
    if current is None or content is None:
        raise NotAllowedError(f"{SYSCTL_CONF} is neither created nor removed by a fix")
    if remove_ipv6_entries(current) != remove_ipv6_entries(content):
        raise NotAllowedError(f"{SYSCTL_CONF}: more would change than lines with disable_ipv6")


def remove_ipv6_entries(content: bytes) -> bytes:
    """Return a sysctl.conf without the lines that set disable_ipv6 of all, default or lo."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", content)
    return b"".join(line for line in lines if not _ENTRY.fullmatch(line.removesuffix(b"\n")))


# -- conflists ------------------------------------------------------------------------------------


def _check_conflist(target: str, current: bytes | None, content: bytes | None) -> None:
    """Only the fixes' tuning plugins may come or go, and assign_ipv6 may be set."""
    if current is None or content is None:
        raise NotAllowedError(
            f"{target} is neither created nor removed by a fix; the CNI writes it when it starts"
        )
    before, after = _parse_conflist(target, current), _parse_conflist(target, content)
    old, new = before.pop("plugins"), after.pop("plugins")
    if before != after or _without_edits(old) != _without_edits(new):
        raise NotAllowedError(
            f"{target}: more would change than the IPv6 settings of the CNI's plugins"
        )
    if any(new.count(plugin) > max(1, old.count(plugin)) for plugin in TUNING_PLUGINS):
        raise NotAllowedError(f"{target}: `tuning` would be there more than once")
    if new[0] in TUNING_PLUGINS:
        raise NotAllowedError(f"{target}: `tuning` would come before the pod has an interface")


def _parse_conflist(target: str, content: bytes) -> dict[str, Any]:
    """Return a conflist. Numbers are their digits, so that 1, 1.0 and true differ."""
    if len(content) > MAX_SIZE:
        raise NotAllowedError(f"{target} has {len(content)} bytes")
    try:
        conflist = json.loads(
            content.decode("utf-8").removeprefix("\ufeff"),
            object_pairs_hook=_read_object,
            parse_int=lambda digits: ("number", digits),
            parse_float=lambda digits: ("number", digits),
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise NotAllowedError(f"{target} is not strict JSON: {error}") from None
    plugins = conflist.get("plugins") if isinstance(conflist, dict) else None
    if not isinstance(plugins, list) or not plugins:
        raise NotAllowedError(f"{target} has no list of plugins")
    assert isinstance(conflist, dict)
    return conflist


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse keys that the runtime's parser takes for the same one."""
    if len({name.casefold() for name, _ in pairs}) < len(pairs):
        raise ValueError(f"a key appears twice among {[name for name, _ in pairs]!r:.200}")
    return dict(pairs)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _without_edits(plugins: list[Any]) -> list[Any]:
    """Return the plugins without ours, and with one value for every assign_ipv6 of a type."""
    kept = [plugin for plugin in plugins if plugin not in TUNING_PLUGINS]
    return [_blank_assign_ipv6(plugin) for plugin in kept]


def _blank_assign_ipv6(plugin: Any) -> Any:
    ipam = plugin.get("ipam") if isinstance(plugin, dict) else None
    value = ipam.get("assign_ipv6") if isinstance(ipam, dict) else None
    if ipam is None or not (isinstance(value, bool) or value in ("true", "false")):
        return plugin
    return {**plugin, "ipam": {**ipam, "assign_ipv6": type(value)}}
