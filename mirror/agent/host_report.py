"""Describes a host to the collector. Read only."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from mirror.agent import files, node_defaults, reconcile, sysctls
from mirror.agent.allowlist import MAX_SIZE
from mirror.agent.host_paths import ETC, MICROK8S_CNI_DIRECTORY, HostPaths, TargetError

_CNI_SUFFIXES = (".conf", ".conflist", ".json")  # files that a container runtime loads
_DISABLE_IPV6 = re.compile(r"^\s*-?net[./]ipv6[./]conf[./]\S+[./]disable_ipv6\s*=", re.MULTILINE)


def describe_host(host: HostPaths) -> dict[str, Any]:
    """Return a host as JSON, in the shape of deploy.evidence.hosts.HostView."""
    microk8s = host.cni == MICROK8S_CNI_DIRECTORY
    net_d = str(host.cni / "args/cni-network") if microk8s else str(ETC / "cni/net.d")
    plugins = str(host.cni / "opt/cni/bin") if microk8s else str(host.cni)
    conflists, rejected = _read_conflists(host, net_d)
    rejected += node_defaults.find_rejected(host) + reconcile.find_rejected(host)
    return {
        "net_d": net_d,
        "conflists": conflists,
        "plugins": _list_plugins(host, plugins),
        "allowlist": _read_text(host.root / "etc/cni/tuning/allowlist.conf"),
        "links": [list(setting) for setting in sysctls.read_link_settings(host).items()],
        "addresses": _read_addresses(),
        "sysctl_lines": _read_sysctl_lines(host),
        "kept": sorted(record["target"] for record in node_defaults.read_applied(host)),
        "rejected": rejected,  # not "refused": that is a request that failed
    }


def _read_conflists(host: HostPaths, net_d: str) -> tuple[list[dict[str, str]], list[str]]:
    """Return path and text of each file that the runtime loads, and what cannot be read."""
    conflists, rejected = [], []
    try:
        names = files.list_folder(host, net_d)
    except TargetError as error:
        return [], [str(error)]
    for name in names:
        path, content = f"{net_d}/{name}", b""
        if not name.endswith(_CNI_SUFFIXES):
            continue
        try:
            content = files.read_file(host, path).content or b""
        except TargetError as error:
            rejected.append(str(error))
        conflists.append({"path": path, "text": content.decode(errors="replace")})
    return conflists, rejected


def _list_plugins(host: HostPaths, folder: str) -> list[str]:
    """Return the names of the CNI's programs. Links are followed: nothing is read or written."""
    path = host.resolve_file(f"{folder}/x").parent
    return sorted(program.name for program in path.iterdir()) if path.is_dir() else []


def _read_text(path: Path) -> str | None:
    """Return the start of a regular file as text; None if it cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(MAX_SIZE).decode(errors="replace")
    except OSError:
        return None


def _read_sysctl_lines(host: HostPaths) -> list[dict[str, str]]:
    """Return the lines of sysctl.conf(5) files that set disable_ipv6, in the order of loading."""
    etc = host.root / "etc"
    lines = []
    for path in [*sorted((etc / "sysctl.d").glob("*.conf")), etc / "sysctl.conf"]:
        lines += [
            {"path": str(ETC / path.relative_to(etc)), "line": line}
            for line in (_read_text(path) or "").splitlines()
            if _DISABLE_IPV6.match(line)
        ]
    return lines


def _read_addresses() -> list[str]:
    """Return the host's IPv6 addresses except link-local ones, as LINK ADDRESS/PREFIX."""
    addresses = []
    for row in (_read_text(Path("/proc/net/if_inet6")) or "").splitlines():
        digits, _, prefix, scope, _, link = row.split()
        if int(scope, 16) != 0x20:
            address = ipaddress.IPv6Address(bytes.fromhex(digits))
            addresses.append(f"{link} {address}/{int(prefix, 16)}")
    return sorted(addresses)
