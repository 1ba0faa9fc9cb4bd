"""DNS questions over UDP, as small as a stub resolver's (RFC 1035 section 4, RFC 3596)."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from ipaddress import IPv4Address, IPv6Address

from mirror.probe.model import DnsAnswer

A, AAAA = 1, 28
QTYPES = {"A": A, "AAAA": AAAA}
TIMEOUT = DnsAnswer(code="TIMEOUT")
_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_HEADER = struct.Struct("!6H")  # id, flags, questions, answers, authorities, additionals
_RECORD = struct.Struct("!2HIH")  # type, class, time to live, length of the data
_LARGEST = 4096  # bytes of a datagram


def query(servers: tuple[str, ...], name: str, qtype: int, *, port: int = 53) -> DnsAnswer:
    """One question to the first server that answers, asked three times, for the 5 s of musl's.

    The servers share them.
    """
    told = TIMEOUT
    for wait in (0.7, 1.3, 3.0):
        for server in servers:
            told = _ask_once(server, port, name, qtype, wait / len(servers))
            if told.code not in {"TIMEOUT", "UNREACHABLE"}:
                return told
    return told


def _ask_once(server: str, port: int, name: str, kind: int, seconds: float) -> DnsAnswer:
    number = secrets.randbelow(1 << 16)
    until = time.monotonic() + seconds
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as line:
            line.connect((server, port))
            line.send(encode_query(number, name, kind))
            while (left := until - time.monotonic()) > 0:
                line.settimeout(left)
                packet = line.recv(_LARGEST)
                if packet[:2] == number.to_bytes(2, "big"):
                    return decode_reply(packet, kind)
    except TimeoutError:
        return TIMEOUT
    except OSError:
        return DnsAnswer(code="UNREACHABLE")
    return TIMEOUT


def encode_query(number: int, name: str, qtype: int) -> bytes:
    """A recursive query. Raises ValueError for what is not a DNS name."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels), 0) > 240:
        raise ValueError(f"not a DNS name: {name!r}")
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + written + struct.pack("!2H", qtype, 1)


def decode_reply(packet: bytes, qtype: int) -> DnsAnswer:
    """The answer of a reply to one question of this kind."""
    try:
        _, flags, questions, answers, _, _ = _HEADER.unpack_from(packet)
        at = _HEADER.size
        for _ in range(questions):
            at = _after_name(packet, at) + 4
        found = []
        for _ in range(answers):
            at = _after_name(packet, at)
            its, _, _, length = _RECORD.unpack_from(packet, at)
            at += _RECORD.size
            if its == qtype:
                found.append(_address(qtype, packet[at : at + length]))
            at += length
    except (struct.error, IndexError, ValueError):
        return DnsAnswer(code="MALFORMED")
    code = flags & 15
    return DnsAnswer(code=_CODES.get(code, f"RCODE{code}"), addresses=tuple(found))


def _address(kind: int, data: bytes) -> str:
    return str(IPv4Address(data) if kind == A else IPv6Address(data))


def _after_name(packet: bytes, at: int) -> int:
    while (length := packet[at]) != 0:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1
