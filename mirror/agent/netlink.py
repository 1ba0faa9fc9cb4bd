"""IPv6 addresses and routes of the host, taken and put back as the kernel's own messages."""

from __future__ import annotations

import base64
import errno
import socket
import struct
from collections.abc import Iterator
from typing import TypedDict

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, link
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
_NEW_ADDRESS, _GET_ADDRESS, _NEW_ROUTE, _GET_ROUTE = 20, 22, 24, 26
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_ERROR, _DONE = 2, 3
_OUT_LINK, _CACHE = 4, 12  # attributes of a route: its link; times that nobody can set
_PERMANENT = 0x80
_LOCAL_TABLE, _UNICAST, _BY_KERNEL, _BY_ADVERTISEMENT, _ONLINK = 255, 1, 2, 9, 4


class NetlinkRecord(TypedDict):
    """One address or route: its link by name, and the message (base64)."""

    link: str
    message: str


def list_addresses() -> list[NetlinkRecord]:
    """Those that somebody set for ever. Link-local ones come back by themselves, as `::1` does."""
    names = dict(socket.if_nameindex())
    found: list[NetlinkRecord] = []
    for body in _dump(_GET_ADDRESS):
        _, _, flags, scope, link = _ADDRESS.unpack_from(body)
        if scope == 0 and flags & _PERMANENT and link in names:
            found.append({"link": names[link], "message": base64.b64encode(body).decode()})
    return found


def list_routes() -> list[NetlinkRecord]:
    """Those that were set: not the kernel's own, nor a router's advertisements."""
    names = dict(socket.if_nameindex())
    found: list[NetlinkRecord] = []
    for body in _dump(_GET_ROUTE):
        _, _, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
        by_itself = protocol in (_BY_KERNEL, _BY_ADVERTISEMENT)
        if table == _LOCAL_TABLE or kind != _UNICAST or by_itself:
            continue
        link = next((n for t, n in _attributes(body, _ROUTE.size) if t == _OUT_LINK), b"")
        name = names.get(struct.unpack("=I", link)[0], "") if link else ""
        found.append({"link": name, "message": base64.b64encode(body).decode()})
    return found


def restore(saved_addresses: list[NetlinkRecord], saved_routes: list[NetlinkRecord]) -> list[str]:
    """Set them again; what could not be, in words. Links that are gone are passed over."""
    links = {name: number for number, name in socket.if_nameindex()}
    failed: list[str] = []
    for one in reversed(saved_addresses):  # the kernel lists the newest first
        if one["link"] in links:
            body = bytearray(base64.b64decode(one["message"]))
            struct.pack_into("=I", body, 4, links[one["link"]])
            failed += _tell(_NEW_ADDRESS, bytes(body), f"address on {one['link']}")
    for one in saved_routes:
        if one["link"] and one["link"] not in links:
            continue
        body = bytearray(base64.b64decode(one["message"]))
        head = list(_ROUTE.unpack_from(body))
        head[-1] &= _ONLINK
        fresh = _ROUTE.pack(*head)
        for kind, value in _attributes(bytes(body), _ROUTE.size):
            if kind == _OUT_LINK and one["link"]:
                value = struct.pack("=I", links[one["link"]])
            if kind != _CACHE:
                fresh += _attribute(kind, value)
        failed += _tell(_NEW_ROUTE, fresh, f"route by {one['link'] or 'several links'}")
    return failed


def _attributes(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    whole = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return whole + bytes(-len(whole) % 4)


def _open() -> socket.socket:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    link.settimeout(10)
    link.bind((0, 0))
    return link


def _dump(kind: int) -> Iterator[bytes]:
    ask = struct.pack("=B3x", socket.AF_INET6) + bytes(8)
    head = _HEADER.pack(_HEADER.size + len(ask), kind, _REQUEST | _DUMP, 1, 0)
    with _open() as link:
        link.send(head + ask)
        while True:
            data = link.recv(1 << 18)
            at = 0
            while at < len(data):
                length, told, _, _, _ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                if told == _DONE:
                    return
                if told == _ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "netlink")
                if body and body[0] == socket.AF_INET6:
                    yield body
                at += (length + 3) & ~3


def _tell(kind: int, body: bytes, what: str) -> list[str]:
    flags = _REQUEST | _ACK | _CREATE | _REPLACE
    with _open() as link:
        link.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        data = link.recv(1 << 16)
    code = -struct.unpack_from("=i", data, _HEADER.size)[0]
    return [f"{what}: {errno.errorcode.get(code, str(code))}"] if code else []
