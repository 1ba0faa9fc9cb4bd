"""The search list of musl and glibc, checked against the rules in their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.probe.model import DnsAnswer, ResolvConf
from mirror.probe.search_list import list_candidates, read_resolv_conf, simulate_resolvers

NX = DnsAnswer(code="NXDOMAIN")
EMPTY = DnsAnswer(code="NOERROR")
FOUR = DnsAnswer(code="NOERROR", addresses=("192.0.2.1",))
FAIL = DnsAnswer(code="SERVFAIL")
NO_REPLY = DnsAnswer(code="TIMEOUT")
CONF = ResolvConf(nameservers=("10.0.0.1",), search=("cluster.local", "home"), ndots=5)


def list_moves(
    name: str, *answers: tuple[DnsAnswer, DnsAnswer], conf: ResolvConf = CONF
) -> tuple[str, str]:
    """Return the moves of musl and glibc, a letter each: f(inds) g(oes on) s(tops) n(ot asked)."""
    steps = simulate_resolvers(name, conf, answers)
    return "".join(s.musl[0] for s in steps), "".join(s.glibc[0] for s in steps)


@pytest.mark.parametrize(
    ("home", "own", "musl", "glibc"),
    [
        ((NX, NX), (FOUR, EMPTY), "ggf", "ggf"),
        ((EMPTY, EMPTY), (FOUR, EMPTY), "gsn", "ggf"),  # a provider that answers every name
        ((FAIL, FAIL), (FOUR, EMPTY), "gsn", "ggf"),
        ((NO_REPLY, NO_REPLY), (FOUR, EMPTY), "gsn", "gsf"),
        ((NX, EMPTY), (FOUR, EMPTY), "ggf", "ggf"),  # AAAA blocked with NOERROR for all names
        ((FOUR, EMPTY), (FOUR, EMPTY), "gfn", "gfn"),  # a wildcard
        ((NX, NX), (FOUR, NX), "ggs", "ggf"),  # AAAA blocked with NXDOMAIN
        ((NX, NX), (NX, NX), "ggs", "ggs"),
    ],
)
def test_searches_the_list(
    home: tuple[DnsAnswer, DnsAnswer], own: tuple[DnsAnswer, DnsAnswer], musl: str, glibc: str
) -> None:
    assert list_moves("index.example", (NX, NX), home, own) == (musl, glibc)


def test_with_enough_dots_the_name_comes_first_and_musl_ignores_the_list() -> None:
    conf = ResolvConf(nameservers=(), search=("home",), ndots=1)
    assert list_candidates("index.example", conf) == (
        ("index.example", ""),
        ("index.example.home", "home"),
    )
    assert list_moves("index.example", (FOUR, EMPTY), (EMPTY, EMPTY), conf=conf) == ("fn", "fn")
    assert list_moves("index.example", (NX, NX), (FOUR, EMPTY), conf=conf) == ("sn", "gf")


def test_a_final_dot_bypasses_the_list() -> None:
    assert list_candidates("index.example.", CONF) == (("index.example", ""),)


def test_reads_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "domain old\nsearch Cluster.Local. home # mine\nnameserver 10.0.0.1\n"
        "nameserver fe80::1%eth0\nnameserver 3\nnameserver 4\noptions ndots:99 timeout:1\nsortlist"
    )
    assert read_resolv_conf(path) == ResolvConf(
        nameservers=("10.0.0.1", "fe80::1", "3"),
        search=("cluster.local", "home"),
        ndots=15,
        options=("ndots:99", "timeout:1"),
    )
    path.write_text("nameserver 1.1.1.1\noptions ndots:x\n")
    assert read_resolv_conf(path).ndots == 1


def test_reads_the_root_domain_in_a_search_list(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search . home\nnameserver 10.0.0.1\n")
    assert read_resolv_conf(path).searches_root
    assert read_resolv_conf(path).search == ("home",)
    path.write_text("search .\nsearch home\n")
    assert not read_resolv_conf(path).searches_root
    path.write_text("search home.\n")
    assert not read_resolv_conf(path).searches_root
