"""The DNS server of the lab's nodes: an ordinary one, or one with a provider's faults.

It listens inside the lab and forwards to the machine's resolver:
python -m tests.cluster.dns LAB-FOLDER MACHINE-NETWORK-DESCRIPTOR
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from tests.cluster.namespaces import enter_network
from tests.cluster.options import SEARCH_DOMAIN
from tests.cluster.record import LabRecord

TTL_SECONDS = 5
CACHE_SECONDS = 30.0
DOCUMENTATION_PREFIX = int(IPv6Address("2001:db8::"))
"""AAAA answers have this prefix, which is never routed (RFC 3849)."""


class LabResolver(BaseResolver):  # type: ignore[misc]
    """Answers A and AAAA queries. For other types it returns only the response code."""

    def __init__(self, hosts: Mapping[str, str], *, poisoned: bool, aaaa: bool) -> None:
        self._hosts = {name.lower().rstrip("."): address for name, address in hosts.items()}
        self._poisoned, self._aaaa = poisoned, aaaa
        self._cache: dict[str, tuple[float, int, tuple[str, ...]]] = {}

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        code, addresses = self._look_up(name)
        reply.header.rcode = code
        for address in addresses:
            if request.q.qtype == QTYPE.A:
                record, data = QTYPE.A, A(address)
            elif request.q.qtype == QTYPE.AAAA and self._aaaa:
                record, data = QTYPE.AAAA, AAAA(_map_to_ipv6(address))
            else:
                continue
            reply.add_answer(RR(request.q.qname, record, rdata=data, ttl=TTL_SECONDS))
        return reply

    def _look_up(self, name: str) -> tuple[int, tuple[str, ...]]:
        """Return the response code and the IPv4 addresses of a name."""
        if name in self._hosts:
            return RCODE.NOERROR, (self._hosts[name],)
        if name == SEARCH_DOMAIN or name.endswith(f".{SEARCH_DOMAIN}"):
            return (RCODE.NOERROR if self._poisoned else RCODE.NXDOMAIN), ()
        if "." not in name or name.endswith((".arpa", ".local", ".invalid", ".example")):
            return RCODE.NXDOMAIN, ()
        expiry, code, addresses = self._cache.get(name, (0.0, RCODE.SERVFAIL, ()))
        if expiry < time.monotonic():
            code, addresses = _resolve_on_machine(name)
            if code != RCODE.SERVFAIL:
                self._cache[name] = (time.monotonic() + CACHE_SECONDS, code, addresses)
        return code, addresses


def _resolve_on_machine(name: str) -> tuple[int, tuple[str, ...]]:
    try:
        # The trailing dot keeps the machine's search list out.
        rows = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
    except UnicodeError:
        return RCODE.NXDOMAIN, ()
    except socket.gaierror as error:
        if error.errno == socket.EAI_NODATA:
            return RCODE.NOERROR, ()
        return (RCODE.NXDOMAIN if error.errno == socket.EAI_NONAME else RCODE.SERVFAIL), ()
    return RCODE.NOERROR, tuple(dict.fromkeys(str(row[4][0]) for row in rows))


def _map_to_ipv6(address: str) -> str:
    return str(IPv6Address(DOCUMENTATION_PREFIX | int.from_bytes(socket.inet_aton(address), "big")))


def main() -> None:
    record = LabRecord.load(Path(sys.argv[1]))
    if record is None:
        raise SystemExit(f"no lab in {sys.argv[1]}")
    options, router = record.options, str(record.site.router)
    hosts = {"index.example": router, **options.hosts}
    resolver = LabResolver(hosts, poisoned=options.poisoned, aaaa=options.aaaa)
    quiet = DNSLogger("-request,-reply,-truncated,-data", prefix=False)
    servers = [
        DNSServer(resolver, address=router, port=53, tcp=tcp, logger=quiet) for tcp in (False, True)
    ]
    enter_network(int(sys.argv[2]))
    for server in servers:
        server.start_thread()
    threading.Event().wait()


if __name__ == "__main__":
    main()
