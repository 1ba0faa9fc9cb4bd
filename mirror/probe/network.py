"""Whether there is a way to an address: IPv6 on this machine, and TCP connections tried."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv6Address
from pathlib import Path

from mirror.probe.model import ConnectionAttempt, ConnectionOutcome

SECONDS = 2.0
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM}
_UNREACHABLE |= {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}
_REJECT = 0x0200  # RTF_REJECT, linux/route.h


def read_ipv6_addresses(proc: Path = Path("/proc/net")) -> tuple[str, ...]:
    """IPv6 addresses of global scope (unique local ones too); none where IPv6 is off."""
    rows = _rows(proc / "if_inet6")
    return tuple(str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[3] == "00")


def has_ipv6_default_route(proc: Path = Path("/proc/net")) -> bool:
    """Whether a default route for IPv6 exists. One in a pod says nothing of its node's."""
    return any(
        row[0] == "0" * 32 and row[1] == "00" and not int(row[8], 16) & _REJECT
        for row in _rows(proc / "ipv6_route")
    )


def is_ipv6_disabled(
    sysctl: Path = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6"),
) -> bool | None:
    """Whether IPv6 is switched off here; None where the kernel knows no IPv6."""
    return sysctl.read_text().strip() == "1" if sysctl.exists() else None


def read_gai_conf(path: Path = Path("/etc/gai.conf")) -> tuple[str, ...]:
    """What /etc/gai.conf says to glibc. musl reads no such file."""
    if not path.exists():
        return ()
    lines = (line.split("#")[0].strip() for line in path.read_text(errors="replace").splitlines())
    return tuple(line for line in lines if line)


def _rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def try_connect(address: str, port: int) -> ConnectionAttempt:
    """Open and close one TCP connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    outcome: ConnectionOutcome = "connects"
    text = ""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as line:
            line.settimeout(SECONDS)
            line.connect((address, port))
    except TimeoutError:
        outcome, text = "timeout", f"no answer in {SECONDS:g} s"
    except OSError as broken:
        code = broken.errno or 0
        text = os.strerror(code)
        if code == errno.ECONNREFUSED:
            outcome = "refused"
        else:
            outcome = "unreachable" if code in _UNREACHABLE else "failed"
    return ConnectionAttempt(address=address, outcome=outcome, text=text)
