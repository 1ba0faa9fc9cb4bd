"""DNS packets, against another implementation and against garbage."""

from __future__ import annotations

import pytest
from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from mirror.probe import dns_query
from mirror.probe.model import DnsAnswer


def reply(name: str, kind: int, *answers: RR, code: int = 0) -> bytes:
    made = DNSRecord.parse(dns_query.encode_query(7, name, kind)).reply()
    made.header.rcode = code
    for answer in answers:
        made.add_answer(answer)
    return bytes(made.pack())


def test_a_question_is_what_a_server_expects() -> None:
    asked = DNSRecord.parse(dns_query.encode_query(0x1234, "index.example", dns_query.AAAA))
    assert (asked.header.id, asked.header.rd) == (0x1234, 1)
    assert (str(asked.q.qname), QTYPE[asked.q.qtype]) == ("index.example.", "AAAA")


def test_addresses_of_the_asked_type_are_read_behind_a_cname() -> None:
    answers = RR.fromZone(
        "index.example. 5 IN CNAME far.example.\nfar.example. 5 IN A 192.0.2.1\n"
        "far.example. 5 IN A 192.0.2.2"
    )
    packet = reply("index.example", dns_query.A, *answers)
    assert dns_query.decode_reply(packet, dns_query.A) == DnsAnswer(
        code="NOERROR", addresses=("192.0.2.1", "192.0.2.2")
    )


def test_ipv6_addresses_are_read() -> None:
    packet = reply(
        "i.example", dns_query.AAAA, RR("i.example", QTYPE.AAAA, rdata=AAAA("2001:db8::1"))
    )
    assert dns_query.decode_reply(packet, dns_query.AAAA).addresses == ("2001:db8::1",)


@pytest.mark.parametrize("code", [RCODE.NOERROR, RCODE.NXDOMAIN, RCODE.SERVFAIL, RCODE.REFUSED])
def test_the_code_is_told_by_its_name(code: int) -> None:
    assert (
        dns_query.decode_reply(reply("i.example", dns_query.A, code=code), dns_query.A).code
        == RCODE[code]
    )


@given(st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_worse(packet: bytes) -> None:
    assert isinstance(dns_query.decode_reply(packet, dns_query.A), DnsAnswer)


@given(st.data())
def test_a_packet_that_is_cut_is_never_misread(data: st.DataObject) -> None:
    packet = reply("i.example", dns_query.A, RR("i.example", QTYPE.A, rdata=A("192.0.2.1")))
    cut = packet[: data.draw(st.integers(0, len(packet) - 1))]
    assert dns_query.decode_reply(cut, dns_query.A).code == "MALFORMED"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(ValueError, match="not a DNS name"):
        dns_query.encode_query(1, name, dns_query.A)


def test_it_asks_for_as_long_as_musl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    answer = DnsAnswer(code="NXDOMAIN")

    def once(server: str, port: int, name: str, kind: int, seconds: float) -> DnsAnswer:
        waits.append(seconds)
        return answer if len(waits) == 6 else dns_query.TIMEOUT

    monkeypatch.setattr(dns_query, "_ask_once", once)
    assert dns_query.query(("192.0.2.1", "192.0.2.2"), "i.example", dns_query.A) == answer
    assert sum(waits) == pytest.approx(5.0)


def test_a_server_that_is_not_there_is_told_as_such() -> None:
    assert dns_query.query(("127.0.0.1",), "i.example", dns_query.A, port=1).code == "UNREACHABLE"
    assert dns_query.query((), "i.example", dns_query.A) == dns_query.TIMEOUT
