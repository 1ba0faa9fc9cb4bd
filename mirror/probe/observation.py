"""Observes the network of one pod: all queries in parallel, then programs and connections."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mirror.core.wait import Deadline
from mirror.probe import network, programs
from mirror.probe.dns_query import AAAA, A, query
from mirror.probe.endpoint import IndexEndpoint
from mirror.probe.mirror_status import check_mirror
from mirror.probe.model import DnsAnswer, NameView, PodDns, ResolvConf, SuffixView
from mirror.probe.search_list import (
    AddressAnswers,
    list_candidates,
    read_resolv_conf,
    simulate_resolvers,
)

_SECONDS = 6.0  # for everything: a node whose DNS is dead delays the report by this at most
_ADDRESSES = 2  # connections tried for each address family


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """What to probe, and where to find it. The defaults are those of a probe pod."""

    resolv_conf: Path = Path("/etc/resolv.conf")
    tools: Path = Path("/opt/probe")
    dns_port: int = 53
    mirror: IndexEndpoint | None = None
    seconds: float = _SECONDS  # in all


def observe_pod(endpoints: Iterable[IndexEndpoint], options: ProbeOptions) -> PodDns:
    """Return what this pod sees, in about the time that the slowest query takes."""
    start = time.monotonic()
    deadline = Deadline.after(options.seconds)
    conf = read_resolv_conf(options.resolv_conf)
    mirror = options.mirror
    endpoints = tuple(endpoints)
    with ThreadPoolExecutor(count_tasks(len(endpoints), len(conf.search))) as pool:
        run = _PodObserver(pool, conf, options, deadline)
        names = [run.start_name(endpoint) for endpoint in endpoints]
        suffixes = [run.start_suffix(suffix) for suffix in conf.search]
        status = pool.submit(check_mirror, mirror.name, mirror.port, deadline) if mirror else None
        return PodDns(
            resolv_conf=conf,
            suffixes=tuple(collect() for collect in suffixes),
            names=tuple(collect() for collect in names),
            ipv6_addresses=network.read_ipv6_addresses(),
            ipv6_default_route=network.has_ipv6_default_route(),
            ipv6_disabled=network.is_ipv6_disabled(),
            gai_conf=network.read_gai_conf(),
            mirror=status.result() if status else None,
            seconds=round(time.monotonic() - start, 2),
        )


def count_tasks(names: int, domains: int) -> int:
    """Return how many tasks wait at the same time: none of them may wait for another to time out.

    For each name, two queries for each candidate and four programs; for each domain, two made-up
    names with two queries; the mirror. Connections follow when the queries are done.
    """
    return names * (2 * (domains + 1) + 4) + domains * 4 + 1


@dataclass(frozen=True, slots=True)
class _PodObserver:
    """Starts queries and programs; each method returns a function that waits for the results."""

    pool: Executor
    conf: ResolvConf
    options: ProbeOptions
    deadline: Deadline

    def start_name(self, endpoint: IndexEndpoint) -> Callable[[], NameView]:
        name, port = endpoint.name, endpoint.port
        pairs = [self._start_pair(candidate) for candidate, _ in list_candidates(name, self.conf)]
        uv, busybox = self.options.tools / "uv", self.options.tools / "busybox"
        runs = [
            self.pool.submit(programs.run_uv, uv, name, port, self.deadline),
            self.pool.submit(programs.run_uv, uv, name.rstrip(".") + ".", port, self.deadline),
            self.pool.submit(programs.run_glibc, name, self.deadline),
            self.pool.submit(programs.run_busybox, busybox, name, self.deadline),
        ]

        def collect() -> NameView:
            """Wait for the answers, then connect to the addresses of the name itself."""
            steps = simulate_resolvers(name, self.conf, [answers() for answers in pairs])
            own = next(step for step in steps if not step.suffix)
            addresses = [*own.a.addresses[:_ADDRESSES], *own.aaaa.addresses[:_ADDRESSES]]
            attempts = [
                self.pool.submit(network.try_connect, to, port, self.deadline) for to in addresses
            ]
            return NameView(
                name=name,
                port=port,
                steps=steps,
                programs=tuple(run.result() for run in runs),
                connections=tuple(attempt.result() for attempt in attempts),
            )

        return collect

    def start_suffix(self, suffix: str) -> Callable[[], SuffixView]:
        label = f"mirror-doctor-{secrets.token_hex(4)}"  # in no cache and in no zone
        expanded = self._start_pair(f"{label}.example.{suffix}")
        single = self._start_pair(f"{label}.{suffix}")
        return lambda: SuffixView(
            suffix=suffix,
            expanded=_choose_decisive(expanded()),
            single=_choose_decisive(single()),
        )

    def _start_pair(self, name: str) -> Callable[[], AddressAnswers]:
        servers, port = self.conf.nameservers, self.options.dns_port
        a, aaaa = (
            self.pool.submit(query, servers, name, qtype, port=port, deadline=self.deadline)
            for qtype in (A, AAAA)
        )
        return lambda: (a.result(), aaaa.result())


def _choose_decisive(answers: AddressAnswers) -> DnsAnswer:
    """Return the answer that every version of musl decides by: the one to the A query."""
    a, aaaa = answers
    return aaaa if aaaa.addresses and not a.addresses else a
