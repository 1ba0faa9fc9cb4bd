"""Which addresses the cache may connect to: an upstream's page must not lead it inside.

A page may name any URL for a file, and a host of it may redirect anywhere. Loopback, link-local and
private addresses are refused, unless the upstream itself has an address of that kind.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal
from urllib.parse import urlsplit

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from mirror.cache.errors import UpstreamResponseError

AddressKind = Literal["global", "loopback", "link-local", "private", "other"]


class ForbiddenAddressError(UpstreamResponseError):
    """A URL leads to an address inside that the upstream does not share."""


def classify_address(text: str) -> AddressKind:
    """Return the kind of an IP address. IPv6 addresses that embed an IPv4 one have its kind."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        address = _embedded_address(address) or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast or (isinstance(address, IPv4Address) and address.is_reserved):
        return "other"
    return "global" if address.is_global else "private"


def _embedded_address(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address in an IPv6 address: mapped, compatible, 6to4 or NAT64."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    high, low = int(address) >> 32, int(address) & 0xFFFFFFFF
    if high == 0x0064_FF9B << 64 or (high == 0 and low > 1):
        return IPv4Address(low)
    return None


def is_literal_address(host: str) -> bool:
    """Check that a host is an IP address."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class AddressGuard:
    """Allows what the index at ``index_url`` may lead to."""

    def __init__(self, index_url: str) -> None:
        self._host = urlsplit(index_url).hostname or ""
        self._own_kinds: frozenset[AddressKind] | None = None
        self.proxy_hosts: set[str] = set()  # of the environment: somebody named them on purpose

    async def check_url(self, url: str) -> None:
        """Raise ForbiddenAddressError for a URL whose host is an address inside."""
        host = urlsplit(url).hostname or ""
        if is_literal_address(host):
            await self.check_address(host, host)

    async def check_address(self, address: str, host: str) -> None:
        """Raise ForbiddenAddressError unless an address of ``host`` may be connected to."""
        kind = classify_address(address)
        if kind == "global" or host in self.proxy_hosts or host == self._host:
            return
        if kind not in await self._find_own_kinds():
            raise ForbiddenAddressError(f"{host} has the {kind} address {address}: not followed")

    async def _find_own_kinds(self) -> frozenset[AddressKind]:
        if self._own_kinds is None:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(self._host, None)
            except OSError:
                return frozenset()
            self._own_kinds = frozenset(classify_address(str(info[4][0])) for info in found)
        return self._own_kinds


class GuardedResolver(ThreadedResolver):
    """Resolves names with the system's resolver; refuses those that lead inside."""

    def __init__(self, guard: AddressGuard) -> None:
        super().__init__()
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        for result in results:
            await self._guard.check_address(result["host"], host)
        return results
