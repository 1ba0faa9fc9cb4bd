"""What a probe pod reports of DNS. Data only; the same types are read back by the collector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Move: TypeAlias = Literal["finds", "goes on", "stops", "not asked"]
"""What a resolver's rules make of one answer of the search list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """/etc/resolv.conf as a pod has it."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    options: tuple[str, ...] = ()  # all of them, as written


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A DNS answer. ``code`` is an rcode's name, or TIMEOUT, or what the network said.

    ``addresses`` are those of the asked type only, CNAMEs followed by the server.
    """

    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One name of the search list, its two answers, and what each resolver does there."""

    tried: str
    suffix: str  # the search domain that made it, empty for the name itself
    a: Answer
    aaaa: Answer
    musl: Move
    glibc: Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a real resolver said. ``outcome`` is what the words mean.

    resolves: an address was had (and the connection not tried, or made); connects: a connection
    was made; no-address and no-name: musl's two ways to give up; unreachable: resolved, no route;
    refused, timeout: resolved, or not known whether; failed: something else, see ``text``.
    """

    program: str
    outcome: Literal[
        "resolves",
        "connects",
        "no-address",
        "no-name",
        "unreachable",
        "refused",
        "timeout",
        "failed",
        "absent",
    ]
    text: str = ""  # its own words, the telling line


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A TCP connection tried to one address. ``port`` is the one of the index, normally 443."""

    address: str
    port: int
    outcome: Literal["connects", "unreachable", "refused", "timeout", "failed"]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """One name, walked along the search list by rule and asked of the real resolvers."""

    name: str
    steps: tuple[Step, ...]
    programs: tuple[Program, ...]
    connections: tuple[Connection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixView:
    """What a search domain says to names that cannot exist.

    ``expanded`` is the answer to the shape that search expansion makes (two labels before the
    suffix), ``single`` to one label. The worse of A and AAAA: whatever is not NXDOMAIN.
    """

    suffix: str
    expanded: Answer
    single: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDns:
    """DNS and routes as one pod sees them."""

    resolv_conf: ResolvConf
    suffixes: tuple[SuffixView, ...]
    names: tuple[NameView, ...]
    ipv6_addresses: tuple[str, ...]  # of global scope
    ipv6_default_route: bool
    seconds: float  # the probe took
