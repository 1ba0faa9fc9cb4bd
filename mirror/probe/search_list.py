"""The search list by the rules of musl and of glibc. Pure: answers in, moves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mirror.probe.model import DnsAnswer, ResolvConf, ResolverMove, SearchStep

AddressAnswers = tuple[DnsAnswer, DnsAnswer]  # to A and to AAAA


def read_resolv_conf(path: Path) -> ResolvConf:
    """resolv.conf(5); the last `search` or `domain` line counts, ndots is 1 unless given."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server.partition("%")[0])
            case ["search" | "domain", *domains]:
                search = [domain.strip(".").lower() for domain in domains if domain.strip(".")]
            case ["options", *given]:
                options += given
            case _:
                pass
    ndots = [one.partition(":")[2] for one in options if one.startswith("ndots:")]
    number = min(int(ndots[-1]), 15) if ndots and ndots[-1].isdigit() else 1
    return ResolvConf(
        nameservers=tuple(servers[:3]),  # both libraries read no more
        search=tuple(search),
        ndots=number,
        options=tuple(options),
    )


def list_candidates(name: str, conf: ResolvConf) -> tuple[tuple[str, str], ...]:
    """(name to try, suffix) in glibc's order; musl tries the same names or only the first."""
    bare = name.rstrip(".")
    itself = ((bare, ""),)
    if name.endswith("."):
        return itself
    expanded = tuple((f"{bare}.{suffix}", suffix) for suffix in conf.search)
    return itself + expanded if _enough_dots(bare, conf) else expanded + itself


def simulate_resolvers(
    name: str, conf: ResolvConf, answers: Sequence[AddressAnswers]
) -> tuple[SearchStep, ...]:
    """What both libraries do; ``answers`` belong to candidates(name, conf)."""
    tries = list_candidates(name, conf)
    dotted = _enough_dots(name.rstrip("."), conf)
    of_musl = _moves(answers, _musl, lambda number, over: over or (dotted and number > 0))
    of_glibc = _moves(answers, _glibc, lambda number, over: over and tries[number][1] != "")
    return tuple(
        SearchStep(tried=tried, suffix=suffix, a=a, aaaa=aaaa, musl=musl, glibc=glibc)
        for (tried, suffix), (a, aaaa), musl, glibc in zip(
            tries, answers, of_musl, of_glibc, strict=True
        )
    )


def _enough_dots(name: str, conf: ResolvConf) -> bool:
    return name.count(".") >= conf.ndots


def _moves(
    answers: Sequence[AddressAnswers],
    rule: Callable[[DnsAnswer, DnsAnswer], ResolverMove],
    passes_over: Callable[[int, bool], bool],
) -> list[ResolverMove]:
    moves: list[ResolverMove] = []
    for number, (a, aaaa) in enumerate(answers):
        if "finds" in moves or passes_over(number, "stops" in moves):
            moves.append("not asked")
        else:
            moves.append(rule(a, aaaa))
    asked = [number for number, move in enumerate(moves) if move != "not asked"]
    if moves[asked[-1]] == "goes on":
        moves[asked[-1]] = "stops"  # there is nothing to go on to
    return moves


def _musl(a: DnsAnswer, aaaa: DnsAnswer) -> ResolverMove:
    """musl 1.2.4 and later, name_from_dns in lookup_name.c: A is looked at before AAAA."""
    for one in (a, aaaa):
        if one.code == "NXDOMAIN":
            return "goes on"
        if one.code != "NOERROR":
            return "stops"
    return "finds" if a.addresses or aaaa.addresses else "stops"


def _glibc(a: DnsAnswer, aaaa: DnsAnswer) -> ResolverMove:
    """glibc, __res_context_search: SERVFAIL is remembered and passed; silence ends the list.

    The name itself is tried even then.
    """
    if a.addresses or aaaa.addresses:
        return "finds"
    return "goes on" if {a.code, aaaa.code} <= {"NOERROR", "NXDOMAIN", "SERVFAIL"} else "stops"
