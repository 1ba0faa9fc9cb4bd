"""Simulates how musl and glibc use the search list. Pure, except for read_resolv_conf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mirror.probe.model import DnsAnswer, ResolvConf, ResolverMove, SearchStep

AddressAnswers = tuple[DnsAnswer, DnsAnswer]  # to A and to AAAA


def read_resolv_conf(path: Path) -> ResolvConf:
    """Read resolv.conf(5): the last `search` or `domain` line counts, ndots is 1 by default."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    searches_root = False
    for line in path.read_text(errors="replace").splitlines():
        match line.split("#")[0].split(";")[0].split():
            case ["nameserver", server, *_]:
                servers.append(server.partition("%")[0])
            case ["search" | "domain", *domains]:
                searches_root = "." in domains
                search = [domain.strip(".").lower() for domain in domains if domain.strip(".")]
            case ["options", *values]:
                options += values
    ndots = [option.partition(":")[2] for option in options if option.startswith("ndots:")]
    number = min(int(ndots[-1]), 15) if ndots and ndots[-1].isdigit() else 1
    return ResolvConf(
        nameservers=tuple(servers[:3]),  # both libraries ignore the rest
        search=tuple(search),
        ndots=number,
        options=tuple(options),
        searches_root=searches_root,
    )


def list_candidates(name: str, conf: ResolvConf) -> tuple[tuple[str, str], ...]:
    """Return (name to query, suffix) in glibc's order; musl queries the same or only the first."""
    bare = name.rstrip(".")
    own = ((bare, ""),)
    if name.endswith("."):
        return own
    expanded = tuple((f"{bare}.{suffix}", suffix) for suffix in conf.search)
    return own + expanded if _has_enough_dots(bare, conf) else expanded + own


def simulate_resolvers(
    name: str, conf: ResolvConf, answers: Sequence[AddressAnswers]
) -> tuple[SearchStep, ...]:
    """Return what both libraries do; ``answers`` are those to list_candidates(name, conf)."""
    candidates = list_candidates(name, conf)
    dotted = _has_enough_dots(name.rstrip("."), conf)
    musl = _simulate(answers, _move_musl, lambda n, stopped: stopped or (dotted and n > 0))
    glibc = _simulate(answers, _move_glibc, lambda n, stopped: stopped and candidates[n][1] != "")
    return tuple(
        SearchStep(tried=tried, suffix=suffix, a=a, aaaa=aaaa, musl=musl[n], glibc=glibc[n])
        for n, ((tried, suffix), (a, aaaa)) in enumerate(zip(candidates, answers, strict=True))
    )


def _has_enough_dots(name: str, conf: ResolvConf) -> bool:
    return name.count(".") >= conf.ndots


def _simulate(
    answers: Sequence[AddressAnswers],
    move: Callable[[DnsAnswer, DnsAnswer], ResolverMove],
    skips: Callable[[int, bool], bool],
) -> list[ResolverMove]:
    """Return what a library does after each candidate.

    ``move`` maps the answers for A and AAAA to a move; ``skips`` gets a candidate's index and
    whether the search has stopped.
    """
    moves: list[ResolverMove] = []
    for index, (a, aaaa) in enumerate(answers):
        if "finds" in moves or skips(index, "stops" in moves):
            moves.append("not asked")
        else:
            moves.append(move(a, aaaa))
    last = max(index for index, made in enumerate(moves) if made != "not asked")
    if moves[last] == "goes on":
        moves[last] = "stops"  # no candidate is left
    return moves


def _move_musl(a: DnsAnswer, aaaa: DnsAnswer) -> ResolverMove:
    """musl 1.2.4 and later, name_from_dns in lookup_name.c: it looks at A before AAAA."""
    for answer in (a, aaaa):
        if answer.code == "NXDOMAIN":
            return "goes on"
        if answer.code != "NOERROR":
            return "stops"
    return "finds" if a.addresses or aaaa.addresses else "stops"


def _move_glibc(a: DnsAnswer, aaaa: DnsAnswer) -> ResolverMove:
    """glibc, __res_context_search: after a timeout, only the name itself is still queried."""
    if a.addresses or aaaa.addresses:
        return "finds"
    return "goes on" if {a.code, aaaa.code} <= {"NOERROR", "NXDOMAIN", "SERVFAIL"} else "stops"
