"""What the node agent sees of a host. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistFile:
    """A CNI configuration on a node, by its path there."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlLine:
    """A line of the boot's settings that decides on IPv6."""

    path: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host. ``links`` are (link, its disable_ipv6), `all` and `default` among them; empty:
    the kernel has no IPv6. ``addresses``: IPv6, not link-local, as LINK ADDRESS/PREFIX.
    ``conflists`` in the order in which a runtime takes the first; ``kept``: what standing orders
    changed there by themselves.
    """

    net_d: str
    conflists: tuple[ConflistFile, ...]
    plugins: tuple[str, ...]
    allowlist: str | None
    links: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    sysctl_lines: tuple[SysctlLine, ...]
    kept: tuple[str, ...] = ()

    def get_disable_ipv6(self, name: str) -> str | None:
        """disable_ipv6 of a link; None where there is none."""
        return next((value for link, value in self.links if link == name), None)
