"""The look of one pod: all questions at once, then the real programs beside the connections."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mirror.probe import mirror_status, network, programs
from mirror.probe.dns_query import AAAA, A, query
from mirror.probe.model import (
    ConnectionAttempt,
    DnsAnswer,
    NameView,
    PodDns,
    ProgramRun,
    ResolvConf,
    SuffixView,
)
from mirror.probe.search_list import (
    AddressAnswers,
    list_candidates,
    read_resolv_conf,
    simulate_resolvers,
)

_SIDE_BY_SIDE = 48  # threads; they wait on the network
_ADDRESSES = 2  # of each family are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEndpoint:
    """A name to look at, and the port its index listens on."""

    name: str
    port: int = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Where to look. The defaults are a probe pod's; tests bring their own."""

    resolv_conf: Path = Path("/etc/resolv.conf")
    tools: Path = Path("/opt/probe")
    dns_port: int = 53
    mirror: IndexEndpoint | None = None  # the mirror's address and port


def observe_pod(endpoints: Iterable[IndexEndpoint], options: ProbeOptions) -> PodDns:
    """Everything about DNS that this pod can see, in about the time of the slowest question."""
    begun = time.monotonic()
    conf = read_resolv_conf(options.resolv_conf)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        views = [_begin_name(pool, place, conf, options) for place in endpoints]
        suffixes = [_begin_suffix(pool, suffix, conf, options) for suffix in conf.search]
        at = options.mirror
        mirror = pool.submit(mirror_status.check_mirror, at.name, at.port) if at else None
        return PodDns(
            resolv_conf=conf,
            suffixes=tuple(one.end() for one in suffixes),
            names=tuple(one.end(pool, conf) for one in views),
            ipv6_addresses=network.read_ipv6_addresses(),
            ipv6_default_route=network.has_ipv6_default_route(),
            ipv6_disabled=network.is_ipv6_disabled(),
            gai_conf=network.read_gai_conf(),
            mirror=mirror.result() if mirror else None,
            seconds=round(time.monotonic() - begun, 2),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The questions for A and AAAA of one name, on their way."""

    a: Future[DnsAnswer]
    aaaa: Future[DnsAnswer]

    @classmethod
    def begin(cls, pool: Executor, name: str, conf: ResolvConf, ground: ProbeOptions) -> _Pair:
        question = partial(query, conf.nameservers, name, port=ground.dns_port)
        return cls(pool.submit(question, A), pool.submit(question, AAAA))

    def end(self) -> AddressAnswers:
        return self.a.result(), self.aaaa.result()


@dataclass(frozen=True, slots=True)
class _Suffix:
    suffix: str
    expanded: _Pair
    single: _Pair

    def end(self) -> SuffixView:
        return SuffixView(
            suffix=self.suffix,
            expanded=_telling(self.expanded.end()),
            single=_telling(self.single.end()),
        )


@dataclass(frozen=True, slots=True)
class _Name:
    place: IndexEndpoint
    pairs: list[_Pair]
    asked: list[Future[ProgramRun]]

    def end(self, pool: Executor, conf: ResolvConf) -> NameView:
        steps = simulate_resolvers(self.place.name, conf, [pair.end() for pair in self.pairs])
        itself = next(step for step in steps if not step.suffix)
        addresses = [*itself.a.addresses[:_ADDRESSES], *itself.aaaa.addresses[:_ADDRESSES]]
        tried: list[Future[ConnectionAttempt]] = [
            pool.submit(network.try_connect, address, self.place.port) for address in addresses
        ]
        return NameView(
            name=self.place.name,
            port=self.place.port,
            steps=steps,
            programs=tuple(one.result() for one in self.asked),
            connections=tuple(one.result() for one in tried),
        )


def _begin_suffix(pool: Executor, suffix: str, conf: ResolvConf, ground: ProbeOptions) -> _Suffix:
    mark = f"mirror-doctor-{secrets.token_hex(4)}"  # in no cache and in no zone
    pair = partial(_Pair.begin, pool, conf=conf, ground=ground)
    return _Suffix(suffix, pair(f"{mark}.example.{suffix}"), pair(f"{mark}.{suffix}"))


def _begin_name(
    pool: Executor, place: IndexEndpoint, conf: ResolvConf, ground: ProbeOptions
) -> _Name:
    pairs = [
        _Pair.begin(pool, tried, conf, ground) for tried, _ in list_candidates(place.name, conf)
    ]
    uv, busybox = ground.tools / "uv", ground.tools / "busybox"
    absolute = place.name.rstrip(".") + "."
    asked = [
        pool.submit(programs.run_uv, uv, place.name, place.port),
        pool.submit(programs.run_uv, uv, absolute, place.port),
        pool.submit(programs.run_glibc, place.name),
        pool.submit(programs.run_busybox, busybox, place.name),
    ]
    return _Name(place, pairs, asked)


def _telling(both: AddressAnswers) -> DnsAnswer:
    """The answer that musl decides by: the one to A, in all its versions."""
    a, aaaa = both
    return aaaa if aaaa.addresses and not a.addresses else a
