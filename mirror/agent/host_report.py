"""Describes a host to the collector. Read only."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import sysctls
from mirror.agent.host_paths import CNI_DIRECTORIES, ETC, HostPaths
from mirror.agent.node_defaults import read_applied

_CNI_SUFFIXES = (".conf", ".conflist", ".json")  # files that a container runtime loads
_DISABLE_IPV6 = re.compile(r"^\s*-?net[./]ipv6[./]conf[./]\S+[./]disable_ipv6\s*=", re.MULTILINE)


def describe_host(host: HostPaths) -> dict[str, Any]:
    """Return a host as JSON, in the shape of deploy.evidence.hosts.HostView."""
    microk8s = host.cni == CNI_DIRECTORIES[1]
    net_d = str(host.cni / "args/cni-network") if microk8s else str(ETC / "cni/net.d")
    plugins = str(host.cni / "opt/cni/bin") if microk8s else str(host.cni)
    return {
        "net_d": net_d,
        "conflists": [
            {"path": f"{net_d}/{path.name}", "text": path.read_text(errors="replace")}
            for path in _list_folder(host, net_d)
            if path.suffix in _CNI_SUFFIXES and path.is_file()
        ],
        "plugins": sorted(path.name for path in _list_folder(host, plugins)),
        "allowlist": _read_text(host.root / "etc/cni/tuning/allowlist.conf"),
        "links": [list(setting) for setting in sysctls.read_link_settings(host).items()],
        "addresses": _read_addresses(),
        "sysctl_lines": _read_sysctl_lines(host),
        "kept": sorted(record["target"] for record in read_applied(host)),
    }


def _list_folder(host: HostPaths, folder: str) -> list[Path]:
    path = PurePosixPath(folder)
    top, name = (host.cni, "cni") if path.is_relative_to(host.cni) else (ETC, "etc")
    mounted = host.root / name / path.relative_to(top)
    return sorted(mounted.iterdir()) if mounted.is_dir() else []


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
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
