"""A DNS server for a test's own resolver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dnslib.server import BaseResolver, DNSLogger, DNSServer


@contextmanager
def serve_dns(resolver: BaseResolver) -> Iterator[int]:
    """Serve on 127.0.0.1; yield the UDP port."""
    quiet = DNSLogger("-request,-reply,-truncated,-data,-error", prefix=False)
    server = DNSServer(resolver, address="127.0.0.1", port=0, logger=quiet)
    server.start_thread()
    yield server.server.server_address[1]
    server.stop()
    server.server.server_close()
