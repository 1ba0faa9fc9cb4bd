"""What a probe pod reports of DNS. Data only; the same types are read back by the collector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ResolverMove: TypeAlias = Literal["finds", "goes on", "stops", "not asked"]
"""What a resolver's rules make of one answer of the search list."""

ConnectionOutcome: TypeAlias = Literal["connects", "unreachable", "refused", "timeout", "failed"]

ProgramOutcome: TypeAlias = (
    ConnectionOutcome | Literal["resolves", "no-address", "no-name", "try-again", "absent"]
)
"""What a program's words mean.

resolves: it has an address and did not go on; connects: it reached the index; no-address,
no-name and try-again: the resolver gave up; absent: the image has no such program.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """/etc/resolv.conf as a pod has it."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    options: tuple[str, ...] = ()  # all of them, as written


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsAnswer:
    """A DNS answer: the rcode's name, or TIMEOUT, UNREACHABLE or MALFORMED where there is none.

    ``addresses`` are those of the asked type; the server has followed CNAMEs.
    """

    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStep:
    """One name of the search list, its two answers, and what each resolver does there."""

    tried: str
    suffix: str  # the search domain that made it, empty for the name itself
    a: DnsAnswer
    aaaa: DnsAnswer
    musl: ResolverMove
    glibc: ResolverMove


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What a real program said. ``asked`` ends in a dot where the search list was left out."""

    program: str  # with its version
    libc: Literal["musl", "glibc", "own"]
    asked: str
    outcome: ProgramOutcome
    text: str = ""  # its own words, the telling line


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionAttempt:
    """A TCP connection tried to one address."""

    address: str
    outcome: ConnectionOutcome
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """One name, walked along the search list by rule and asked of the real resolvers."""

    name: str
    port: int
    steps: tuple[SearchStep, ...]
    programs: tuple[ProgramRun, ...]
    connections: tuple[ConnectionAttempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixView:
    """What a search domain says of names that cannot exist, one random label in each.

    ``expanded`` is the answer to the shape that search expansion makes (two labels before the
    suffix), ``single`` to one label. The answer to A, by which musl decides, unless only AAAA has
    addresses.
    """

    suffix: str
    expanded: DnsAnswer
    single: DnsAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorView:
    """The mirror as one pod reaches it, by the address that workloads were given.

    ``http`` is the status of its answer, 0 without one. Bytes of the volume and the word on its
    upstream are None where this mirror does not tell.
    """

    connection: ConnectionAttempt
    http: int = 0
    text: str = ""
    volume_free: int | None = None
    volume_size: int | None = None
    volume_full: bool = False  # something found no room
    upstream: str | None = None  # ok or away


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDns:
    """DNS, IPv6, routes and the mirror as one pod sees them."""

    resolv_conf: ResolvConf
    suffixes: tuple[SuffixView, ...]
    names: tuple[NameView, ...]
    ipv6_addresses: tuple[str, ...]  # of global scope
    ipv6_default_route: bool
    seconds: float  # the probe took
    ipv6_disabled: bool | None = None  # net.ipv6.conf.all.disable_ipv6; None: no such sysctl
    gai_conf: tuple[str, ...] = ()  # lines of /etc/gai.conf that say something
    mirror: MirrorView | None = None  # where it was asked for
