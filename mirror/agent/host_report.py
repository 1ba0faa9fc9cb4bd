"""What the agent sees of its host. Nothing is changed."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import sysctls
from mirror.agent.host_paths import CNI_DIRECTORIES, ETC, HostPaths
from mirror.agent.node_defaults import read_applied

_CONF = (".conf", ".conflist", ".json")  # what a CNI loads of its folder
_LINE = re.compile(r"^\s*-?net[./]ipv6[./]conf[./]\S+[./]disable_ipv6\s*=", re.MULTILINE)


def describe_host(host: HostPaths) -> dict[str, Any]:
    """One host, as JSON; deploy/evidence/node_agent.py has the types."""
    micro = host.cni == CNI_DIRECTORIES[1]
    net_d = str(host.cni / "args/cni-network") if micro else str(ETC / "cni/net.d")
    plugins = str(host.cni / "opt/cni/bin") if micro else str(host.cni)
    return {
        "net_d": net_d,
        "conflists": [
            {"path": f"{net_d}/{path.name}", "text": path.read_text(errors="replace")}
            for path in _listed(host, net_d)
            if path.suffix in _CONF and path.is_file()
        ],
        "plugins": sorted(path.name for path in _listed(host, plugins)),
        "allowlist": _text(host.root / "etc/cni/tuning/allowlist.conf"),
        "links": [list(pair) for pair in sysctls.read_link_settings(host).items()],
        "addresses": _addresses(),
        "sysctl_lines": _sysctl_lines(host),
        "kept": sorted(one["target"] for one in read_applied(host)),
    }


def _listed(place: HostPaths, folder: str) -> list[Path]:
    pure = PurePosixPath(folder)
    here = (
        place.root / "cni" / pure.relative_to(place.cni)
        if pure.is_relative_to(place.cni)
        else place.root / "etc" / pure.relative_to(ETC)
    )
    return sorted(here.iterdir()) if here.is_dir() else []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _sysctl_lines(place: HostPaths) -> list[dict[str, str]]:
    """Lines of the boot's settings that decide on IPv6, by file, in the order they are read."""
    files = [*sorted((place.root / "etc/sysctl.d").glob("*.conf")), place.root / "etc/sysctl.conf"]
    found = []
    for path in files:
        for line in (_text(path) or "").splitlines():
            if _LINE.match(line):
                name = "/" + str(PurePosixPath("etc") / path.relative_to(place.root / "etc"))
                found.append({"path": name, "line": line})
    return found


def _addresses() -> list[str]:
    """IPv6 addresses of the host that are not link-local, as LINK ADDRESS/PREFIX."""
    table = Path("/proc/net/if_inet6")
    found = []
    for row in table.read_text().splitlines() if table.exists() else ():
        digits, _, prefix, scope, _, link = row.split()
        if int(scope, 16) != 0x20:
            address = ipaddress.IPv6Address(bytes.fromhex(digits))
            found.append(f"{link} {address}/{int(prefix, 16)}")
    return sorted(found)
