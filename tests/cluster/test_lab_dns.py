"""What the lab's DNS server answers, option by option; no lab runs here."""

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
    monkeypatch.setattr(dns, "_ask_machine", lambda n: PUBLIC.get(n, (RCODE.NXDOMAIN, ())))


def resolve(name: str, kind: str, *, poisoned: bool = False, aaaa: bool = False) -> tuple[str, str]:
    """The response code and the answers of one question."""
    provider = LabResolver({"index.example": "10.99.0.1"}, poisoned=poisoned, aaaa=aaaa)
    reply = provider.resolve(DNSRecord.question(name, kind), None)
    return RCODE[reply.header.rcode], " ".join(str(answer.rdata) for answer in reply.rr)


def test_a_name_the_machine_knows_has_its_addresses() -> None:
    assert resolve("example.org", "A") == ("NOERROR", "198.51.100.7")
    assert resolve("empty.org", "A") == ("NOERROR", "")


def test_a_given_name_has_the_given_address_in_any_case() -> None:
    assert resolve("Index.Example.", "A") == ("NOERROR", "10.99.0.1")


def test_an_unknown_name_does_not_exist() -> None:
    assert resolve("nowhere.org", "A") == ("NXDOMAIN", "")
    assert resolve("nowhere.org", "AAAA", aaaa=True) == ("NXDOMAIN", "")


def test_aaaa_is_empty_unless_asked_for() -> None:
    assert resolve("example.org", "AAAA") == ("NOERROR", "")


def test_with_aaaa_every_name_with_an_address_has_an_unroutable_one() -> None:
    assert resolve("example.org", "AAAA", aaaa=True) == ("NOERROR", "2001:db8::c633:6407")
    assert resolve("example.org", "A", aaaa=True) == ("NOERROR", "198.51.100.7")


@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV"])
def test_a_poisoned_domain_answers_every_name_with_nothing(kind: str) -> None:
    name = f"example.org.{SEARCH_DOMAIN}"
    assert resolve(name, kind, poisoned=True, aaaa=True) == ("NOERROR", "")
    assert resolve(name, kind) == ("NXDOMAIN", "")
