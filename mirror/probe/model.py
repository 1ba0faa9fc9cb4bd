"""What a probe pod reports about its network. Data only; the collector reads it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ResolverMove: TypeAlias = Literal["finds", "goes on", "stops", "not asked"]
"""What a resolver does after the answer for one name of the search list."""

ConnectionOutcome: TypeAlias = Literal["connects", "unreachable", "refused", "timeout", "failed"]

LookupOutcome: TypeAlias = (
    ConnectionOutcome | Literal["resolves", "no-address", "no-name", "try-again", "absent"]
)
"""How a program's attempt to use a name ended.

resolves: it got an address and was not asked to connect; connects: it reached the index;
no-address, no-name and try-again: its resolver gave up; absent: the image lacks the program.
"""

AnswerKind: TypeAlias = Literal["empty", "NXDOMAIN", "exists"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAnswer:
    """A DNS answer that proves a fix; empty and exists are NOERROR without and with records."""

    name: str
    qtype: Literal["A", "AAAA"]
    answer: AnswerKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """A pod's /etc/resolv.conf."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    options: tuple[str, ...] = ()  # all of them, as written
    searches_root: bool = False  # `search .`: names are also tried as they are, in their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsAnswer:
    """A DNS answer: the rcode's name, or TIMEOUT, UNREACHABLE or MALFORMED without a usable one.

    ``addresses`` has the records of the queried type; the server has followed CNAMEs.
    """

    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStep:
    """One name of the search list, both answers, and what each resolver does after them."""

    tried: str
    suffix: str  # the search domain that was appended; empty for the name itself
    a: DnsAnswer
    aaaa: DnsAnswer
    musl: ResolverMove
    glibc: ResolverMove


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """The output of a real program. ``asked`` ends in a dot if it bypassed the search list."""

    program: str  # with its version
    libc: Literal["musl", "glibc", "own"]
    asked: str
    outcome: LookupOutcome
    text: str = ""  # the line of its output that says why


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionAttempt:
    """The result of opening a TCP connection to one address."""

    address: str
    outcome: ConnectionOutcome
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameView:
    """One name: the search list simulated for it, and what real programs and connections did."""

    name: str
    port: int
    steps: tuple[SearchStep, ...]
    programs: tuple[ProgramRun, ...]
    connections: tuple[ConnectionAttempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixView:
    """How a search domain answers for names that cannot exist (they have a random label).

    ``expanded`` is for two labels before the suffix, as search expansion makes them, ``single`` for
    one label. Both are the answer to A, which musl decides by, unless only AAAA has addresses.
    """

    suffix: str
    expanded: DnsAnswer
    single: DnsAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorView:
    """The mirror as one pod reaches it, at the address that workloads were given.

    ``http`` is the status of its response, 0 without one. Sizes are bytes. What the mirror does not
    report is None.
    """

    connection: ConnectionAttempt
    http: int = 0
    text: str = ""
    volume_free: int | None = None
    volume_size: int | None = None
    volume_full: bool = False  # a download failed for lack of space
    upstream: str | None = None  # ok or away


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDns:
    """DNS, IPv6, routes and the mirror as one pod sees them."""

    resolv_conf: ResolvConf
    suffixes: tuple[SuffixView, ...]
    names: tuple[NameView, ...]
    ipv6_addresses: tuple[str, ...]  # of global scope
    ipv6_default_route: bool
    seconds: float  # how long the probe took
    ipv6_disabled: bool | None = None  # net.ipv6.conf.all.disable_ipv6; None: no such sysctl
    gai_conf: tuple[str, ...] = ()  # lines of /etc/gai.conf without comments
    mirror: MirrorView | None = None  # None if the probe was not given its address
