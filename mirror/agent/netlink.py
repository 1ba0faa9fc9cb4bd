"""IPv6 addresses and routes of the host, saved and restored as the kernel's own messages.

rtnetlink(7), linux/rtnetlink.h. A library (pyroute2) would cost the agent 22 MiB of memory and
0.2 s for every request.
"""

from __future__ import annotations

import base64
import errno
import socket
import struct
from collections.abc import Collection, Iterator
from typing import TypedDict

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, link
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
_NEW_ADDRESS, _GET_ADDRESS, _NEW_ROUTE, _GET_ROUTE = 20, 22, 24, 26
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_ERROR, _DONE = 2, 3
_OUT_LINK, _CACHE = 4, 12  # attributes of a route: its link; timers that cannot be set
_PERMANENT = 0x80
_LOCAL_TABLE, _UNICAST, _BY_KERNEL, _BY_ADVERTISEMENT, _ONLINK = 255, 1, 2, 9, 4
_NEXT_HOP = struct.Struct("=HBBi")  # length, flags, hops, link; attributes follow
_GATEWAY, _MULTIPATH = 5, 9
# linux/if_addr.h: address, local, cacheinfo, flags, rt_priority, proto
_ADDRESS_ATTRIBUTES = frozenset({1, 2, 6, 8, 9, 11})
# linux/rtnetlink.h: dst, oif, gateway, priority, prefsrc, metrics, multipath, cacheinfo, table,
# pref, expires, nh_id. No encapsulation, which can run programs
_ROUTE_ATTRIBUTES = frozenset({1, 4, 5, 6, 7, 8, 9, 12, 15, 20, 23, 30})


class NetlinkRecord(TypedDict):
    """One address or route: the name of its link, and the message in base64."""

    link: str
    message: str


def list_addresses() -> list[NetlinkRecord]:
    """List permanent global addresses; the kernel restores link-local ones and `::1` itself."""
    links = dict(socket.if_nameindex())
    records = []
    for body in _dump(_GET_ADDRESS):
        link = _ADDRESS.unpack_from(body)[-1]
        if _is_saved_address(body) and link in links:
            records.append(_build_record(links[link], body))
    return records


def list_routes() -> list[NetlinkRecord]:
    """List configured unicast routes, without those of the kernel and of router advertisements."""
    links = dict(socket.if_nameindex())
    records = []
    for body in _dump(_GET_ROUTE):
        if _is_saved_route(body):
            link = dict(_iterate_attributes(body, _ROUTE.size)).get(_OUT_LINK)
            name = links.get(struct.unpack("=I", link)[0], "") if link else ""
            records.append(_build_record(name, body))
    return records


def check_address(record: NetlinkRecord) -> None:
    """Raise ValueError unless list_addresses may have saved this."""
    body = _decode(record, _ADDRESS, _ADDRESS_ATTRIBUTES)
    if not _is_saved_address(body):
        raise ValueError(f"the address on {record['link']!r:.40} is not a permanent global one")


def check_route(record: NetlinkRecord) -> None:
    """Raise ValueError unless list_routes may have saved this."""
    body = _decode(record, _ROUTE, _ROUTE_ATTRIBUTES)
    if not _is_saved_route(body):
        raise ValueError(f"the route by {record['link']!r:.40} is not a configured one")
    for kind, value in _iterate_attributes(body, _ROUTE.size):
        if kind == _MULTIPATH:
            _check_next_hops(value)


def _check_next_hops(hops: bytes) -> None:
    while hops:
        if len(hops) < _NEXT_HOP.size:
            raise ValueError("a next hop that is too short")
        length = _NEXT_HOP.unpack_from(hops)[0]
        if not _NEXT_HOP.size <= length <= len(hops):
            raise ValueError(f"a next hop of {length} bytes")
        _check_attributes(hops[:length], _NEXT_HOP.size, {_GATEWAY})
        hops = hops[(length + 3) & ~3 :]


def _is_saved_address(body: bytes) -> bool:
    family, _, flags, scope, _ = _ADDRESS.unpack_from(body)
    return family == socket.AF_INET6 and scope == 0 and bool(flags & _PERMANENT)


def _is_saved_route(body: bytes) -> bool:
    family, _, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    is_automatic = protocol in (_BY_KERNEL, _BY_ADVERTISEMENT)
    is_configured = table != _LOCAL_TABLE and kind == _UNICAST and not is_automatic
    return family == socket.AF_INET6 and is_configured


def _decode(record: NetlinkRecord, header: struct.Struct, known: Collection[int]) -> bytes:
    if not isinstance(record["link"], str):
        raise ValueError("a link without a name")
    body = base64.b64decode(record["message"], validate=True)
    if len(body) < header.size:
        raise ValueError("a message that is too short")
    _check_attributes(body, header.size, known)
    return body


def _check_attributes(body: bytes, offset: int, known: Collection[int]) -> None:
    """Raise ValueError unless the rest of a message is attributes of known types."""
    if len(body) < offset:
        raise ValueError("a message that is too short")
    while offset < len(body):
        if offset + _ATTRIBUTE.size > len(body):
            raise ValueError("an attribute that is cut off")
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size or offset + length > len(body) or kind not in known:
            raise ValueError(f"attribute {kind} of {length} bytes")
        offset += (length + 3) & ~3


def restore(addresses: list[NetlinkRecord], routes: list[NetlinkRecord]) -> list[str]:
    """Add saved addresses and routes of links that exist; return a line for each that failed."""
    links = {name: number for number, name in socket.if_nameindex()}
    failures: list[str] = []
    for address in reversed(addresses):  # the kernel lists the newest first
        if address["link"] in links:
            body = bytearray(base64.b64decode(address["message"]))
            struct.pack_into("=I", body, 4, links[address["link"]])
            failures += _add(_NEW_ADDRESS, bytes(body), f"address on {address['link']}")
    for route in routes:
        link = route["link"]
        if link and link not in links:
            continue
        body = bytearray(base64.b64decode(route["message"]))
        fields = list(_ROUTE.unpack_from(body))
        fields[-1] &= _ONLINK
        message = _ROUTE.pack(*fields)
        for kind, value in _iterate_attributes(bytes(body), _ROUTE.size):
            if kind == _OUT_LINK and link:
                value = struct.pack("=I", links[link])
            if kind != _CACHE:
                message += _pack_attribute(kind, value)
        failures += _add(_NEW_ROUTE, message, f"route by {link or 'several links'}")
    return failures


def _build_record(link: str, body: bytes) -> NetlinkRecord:
    return {"link": link, "message": base64.b64encode(body).decode()}


def _iterate_attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each attribute."""
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind, body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _pack_attribute(kind: int, value: bytes) -> bytes:
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
    return attribute + bytes(-len(attribute) % 4)


def _send(kind: int, flags: int, body: bytes) -> socket.socket:
    """Return the connection on which the kernel replies to a message."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    connection.settimeout(10)
    connection.bind((0, 0))
    connection.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
    return connection


def _dump(kind: int) -> Iterator[bytes]:
    """Yield the body of each IPv6 message of a dump. Raises OSError."""
    request = struct.pack("=B3x", socket.AF_INET6) + bytes(8)
    with _send(kind, _DUMP, request) as connection:
        while True:
            data = connection.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, message_type, _, _, _ = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + length]
                if message_type == _DONE:
                    return
                if message_type == _ERROR:
                    raise OSError(-struct.unpack_from("=i", body)[0], "netlink")
                if body and body[0] == socket.AF_INET6:
                    yield body
                offset += (length + 3) & ~3


def _add(kind: int, body: bytes, name: str) -> list[str]:
    """Add or replace an address or route; return the error, if any."""
    with _send(kind, _ACK | _CREATE | _REPLACE, body) as connection:
        reply = connection.recv(1 << 16)
    code = -struct.unpack_from("=i", reply, _HEADER.size)[0]
    return [f"{name}: {errno.errorcode.get(code, str(code))}"] if code else []
