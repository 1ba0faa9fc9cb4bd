"""Observes the network of one pod: all queries in parallel, then programs and connections."""

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
from mirror.probe.endpoint import IndexEndpoint
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

_THREADS = 48  # they wait for the network
_ADDRESSES = 2  # connections tried for each address family


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What to probe, and where to find it. The defaults are those of a probe pod."""

    resolv_conf: Path = Path("/etc/resolv.conf")
    tools: Path = Path("/opt/probe")
    dns_port: int = 53
    mirror: IndexEndpoint | None = None


def observe_pod(endpoints: Iterable[IndexEndpoint], options: ProbeOptions) -> PodDns:
    """Return what this pod sees, in about the time that the slowest query takes."""
    start = time.monotonic()
    conf = read_resolv_conf(options.resolv_conf)
    mirror = options.mirror
    with ThreadPoolExecutor(_THREADS) as pool:
        names = [_submit_name(pool, endpoint, conf, options) for endpoint in endpoints]
        suffixes = [_submit_suffix(pool, suffix, conf, options) for suffix in conf.search]
        status = (
            pool.submit(mirror_status.check_mirror, mirror.name, mirror.port) if mirror else None
        )
        return PodDns(
            resolv_conf=conf,
            suffixes=tuple(suffix.collect() for suffix in suffixes),
            names=tuple(name.collect(pool, conf) for name in names),
            ipv6_addresses=network.read_ipv6_addresses(),
            ipv6_default_route=network.has_ipv6_default_route(),
            ipv6_disabled=network.is_ipv6_disabled(),
            gai_conf=network.read_gai_conf(),
            mirror=status.result() if status else None,
            seconds=round(time.monotonic() - start, 2),
        )


@dataclass(frozen=True, slots=True)
class _PendingPair:
    """The pending queries of one name for A and AAAA."""

    a: Future[DnsAnswer]
    aaaa: Future[DnsAnswer]

    def collect(self) -> AddressAnswers:
        return self.a.result(), self.aaaa.result()


@dataclass(frozen=True, slots=True)
class _PendingSuffix:
    suffix: str
    expanded: _PendingPair
    single: _PendingPair

    def collect(self) -> SuffixView:
        return SuffixView(
            suffix=self.suffix,
            expanded=_choose_decisive(self.expanded.collect()),
            single=_choose_decisive(self.single.collect()),
        )


@dataclass(frozen=True, slots=True)
class _PendingName:
    endpoint: IndexEndpoint
    pairs: list[_PendingPair]
    programs: list[Future[ProgramRun]]

    def collect(self, pool: Executor, conf: ResolvConf) -> NameView:
        """Wait for the answers, then connect to the addresses of the name itself."""
        name, port = self.endpoint.name, self.endpoint.port
        steps = simulate_resolvers(name, conf, [pair.collect() for pair in self.pairs])
        own = next(step for step in steps if not step.suffix)
        addresses = [*own.a.addresses[:_ADDRESSES], *own.aaaa.addresses[:_ADDRESSES]]
        attempts: list[Future[ConnectionAttempt]] = [
            pool.submit(network.try_connect, address, port) for address in addresses
        ]
        return NameView(
            name=name,
            port=port,
            steps=steps,
            programs=tuple(run.result() for run in self.programs),
            connections=tuple(attempt.result() for attempt in attempts),
        )


def _submit_pair(
    pool: Executor, name: str, conf: ResolvConf, options: ProbeOptions
) -> _PendingPair:
    query_name = partial(query, conf.nameservers, name, port=options.dns_port)
    return _PendingPair(pool.submit(query_name, A), pool.submit(query_name, AAAA))


def _submit_suffix(
    pool: Executor, suffix: str, conf: ResolvConf, options: ProbeOptions
) -> _PendingSuffix:
    label = f"mirror-doctor-{secrets.token_hex(4)}"  # in no cache and in no zone
    expanded = _submit_pair(pool, f"{label}.example.{suffix}", conf, options)
    return _PendingSuffix(suffix, expanded, _submit_pair(pool, f"{label}.{suffix}", conf, options))


def _submit_name(
    pool: Executor, endpoint: IndexEndpoint, conf: ResolvConf, options: ProbeOptions
) -> _PendingName:
    name, port = endpoint.name, endpoint.port
    candidates = list_candidates(name, conf)
    pairs = [_submit_pair(pool, candidate, conf, options) for candidate, _ in candidates]
    uv, busybox = options.tools / "uv", options.tools / "busybox"
    runs = [
        pool.submit(programs.run_uv, uv, name, port),
        pool.submit(programs.run_uv, uv, name.rstrip(".") + ".", port),
        pool.submit(programs.run_glibc, name),
        pool.submit(programs.run_busybox, busybox, name),
    ]
    return _PendingName(endpoint, pairs, runs)


def _choose_decisive(answers: AddressAnswers) -> DnsAnswer:
    """Return the answer that musl decides by, in all its versions: the one to A."""
    a, aaaa = answers
    return aaaa if aaaa.addresses and not a.addresses else a
