"""IPv6 configuration of this machine, and TCP connections."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv6Address
from pathlib import Path

from mirror.core.wait import Deadline
from mirror.probe.model import ConnectionAttempt, ConnectionOutcome

SECONDS = 2.0  # timeout of a connection
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM}
_UNREACHABLE |= {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETDOWN}
_REJECT = 0x0200  # RTF_REJECT, linux/route.h


def read_ipv6_addresses(proc: Path = Path("/proc/net")) -> tuple[str, ...]:
    """Return the IPv6 addresses of global scope, unique local ones included."""
    rows = _read_rows(proc / "if_inet6")
    return tuple(str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[3] == "00")


def has_ipv6_default_route(proc: Path = Path("/proc/net")) -> bool:
    """Whether there is an IPv6 default route. A pod may have one while its node has none."""
    return any(
        row[0] == "0" * 32 and row[1] == "00" and not int(row[8], 16) & _REJECT
        for row in _read_rows(proc / "ipv6_route")
    )


def is_ipv6_disabled() -> bool | None:
    """Whether IPv6 is disabled; None if the kernel does not support it."""
    sysctl = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    return sysctl.read_text().strip() == "1" if sysctl.exists() else None


def read_gai_conf() -> tuple[str, ...]:
    """Return the lines of gai.conf(5) without comments. Only glibc reads this file."""
    path = Path("/etc/gai.conf")
    if not path.exists():
        return ()
    lines = (line.split("#")[0].strip() for line in path.read_text(errors="replace").splitlines())
    return tuple(line for line in lines if line)


def _read_rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def try_connect(address: str, port: int, deadline: Deadline | None = None) -> ConnectionAttempt:
    """Open and close one TCP connection, in at most SECONDS and before the deadline."""
    seconds = min(SECONDS, deadline.remaining()) if deadline else SECONDS
    if not seconds:
        return ConnectionAttempt(address=address, outcome="timeout", text="no time was left")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    outcome: ConnectionOutcome = "connects"
    text = ""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect((address, port))
    except TimeoutError:
        outcome, text = "timeout", f"no answer in {round(seconds, 1):g} s"
    except ConnectionRefusedError:
        outcome, text = "refused", os.strerror(errno.ECONNREFUSED)
    except OSError as error:
        code = error.errno or 0
        outcome, text = "unreachable" if code in _UNREACHABLE else "failed", os.strerror(code)
    return ConnectionAttempt(address=address, outcome=outcome, text=text)
