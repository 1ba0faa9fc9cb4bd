"""Tests of the lab's DNS server for each option, without a lab."""

from __future__ import annotations

import pytest
from dnslib import RCODE, DNSRecord

from tests.cluster import dns
from tests.cluster.dns import LabResolver
from tests.cluster.options import SEARCH_DOMAIN

PUBLIC = {"example.org": (RCODE.NOERROR, ("198.51.100.7",)), "empty.org": (RCODE.NOERROR, ())}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose resolver knows two names."""
    monkeypatch.setattr(dns, "_resolve_on_machine", lambda n: PUBLIC.get(n, (RCODE.NXDOMAIN, ())))


def resolve(name: str, kind: str, *, poisoned: bool = False, aaaa: bool = False) -> tuple[str, str]:
    """Return the response code and the addresses that the server answers."""
    resolver = LabResolver({"index.example": "10.99.0.1"}, poisoned=poisoned, aaaa=aaaa)
    reply = resolver.resolve(DNSRecord.question(name, kind), None)
    return RCODE[reply.header.rcode], " ".join(str(answer.rdata) for answer in reply.rr)


def test_forwards_names_that_the_machine_resolves() -> None:
    assert resolve("example.org", "A") == ("NOERROR", "198.51.100.7")
    assert resolve("empty.org", "A") == ("NOERROR", "")


def test_answers_configured_names_in_any_case() -> None:
    assert resolve("Index.Example.", "A") == ("NOERROR", "10.99.0.1")


def test_answers_nxdomain_for_an_unknown_name() -> None:
    assert resolve("nowhere.org", "A") == ("NXDOMAIN", "")
    assert resolve("nowhere.org", "AAAA", aaaa=True) == ("NXDOMAIN", "")


def test_answers_no_aaaa_by_default() -> None:
    assert resolve("example.org", "AAAA") == ("NOERROR", "")


def test_answers_unroutable_aaaa_with_the_aaaa_option() -> None:
    assert resolve("example.org", "AAAA", aaaa=True) == ("NOERROR", "2001:db8::c633:6407")
    assert resolve("example.org", "A", aaaa=True) == ("NOERROR", "198.51.100.7")


@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV"])
def test_answers_empty_for_every_name_of_a_poisoned_domain(kind: str) -> None:
    name = f"example.org.{SEARCH_DOMAIN}"
    assert resolve(name, kind, poisoned=True, aaaa=True) == ("NOERROR", "")
    assert resolve(name, kind) == ("NXDOMAIN", "")
