"""IPv6 configuration as read from /proc, and connections."""

from __future__ import annotations

import socket
from pathlib import Path

from mirror.probe import network

REJECT = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
DEFAULT = f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 00000001 00000000 00000003     eth0\n"
ADDRESSES = (
    "fe80000000000000548512fffec50a1b 02 40 20 80     eth0\n"
    "fd708823728300030000000000000003 02 40 00 80     eth0\n"
    "00000000000000000000000000000001 01 80 10 80       lo\n"
)


def test_a_reject_route_is_no_default_route(tmp_path: Path) -> None:
    (tmp_path / "ipv6_route").write_text(REJECT)
    assert not network.has_ipv6_default_route(tmp_path)
    (tmp_path / "ipv6_route").write_text(REJECT + DEFAULT)
    assert network.has_ipv6_default_route(tmp_path)


def test_reads_addresses_of_global_scope(tmp_path: Path) -> None:
    assert network.read_ipv6_addresses(tmp_path) == ()
    (tmp_path / "if_inet6").write_text(ADDRESSES)
    assert network.read_ipv6_addresses(tmp_path) == ("fd70:8823:7283:3::3",)


def test_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert network.try_connect("127.0.0.1", port).outcome == "connects"
    closed = network.try_connect("127.0.0.1", port)
    assert (closed.outcome, closed.text) == ("refused", "Connection refused")
