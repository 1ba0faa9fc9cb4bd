"""DNS packets, checked against dnslib and against random bytes."""

from __future__ import annotations

import pytest
from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from mirror.probe import dns_query
from mirror.probe.model import DnsAnswer


def build_reply(name: str, qtype: int, *answers: RR, code: int = 0) -> bytes:
    reply = DNSRecord.parse(dns_query.encode_query(7, name, qtype)).reply()
    reply.header.rcode = code
    for answer in answers:
        reply.add_answer(answer)
    return bytes(reply.pack())


def test_encodes_a_query() -> None:
    parsed = DNSRecord.parse(dns_query.encode_query(0x1234, "index.example", dns_query.AAAA))
    assert (parsed.header.id, parsed.header.rd) == (0x1234, 1)
    assert (str(parsed.q.qname), QTYPE[parsed.q.qtype]) == ("index.example.", "AAAA")


def test_decodes_addresses_behind_a_cname() -> None:
    answers = RR.fromZone(
        "index.example. 5 IN CNAME far.example.\nfar.example. 5 IN A 192.0.2.1\n"
        "far.example. 5 IN A 192.0.2.2"
    )
    packet = build_reply("index.example", dns_query.A, *answers)
    assert dns_query.decode_reply(packet, dns_query.A) == DnsAnswer(
        code="NOERROR", addresses=("192.0.2.1", "192.0.2.2")
    )


def test_decodes_ipv6_addresses() -> None:
    packet = build_reply(
        "i.example", dns_query.AAAA, RR("i.example", QTYPE.AAAA, rdata=AAAA("2001:db8::1"))
    )
    assert dns_query.decode_reply(packet, dns_query.AAAA).addresses == ("2001:db8::1",)


@pytest.mark.parametrize("code", [RCODE.NOERROR, RCODE.NXDOMAIN, RCODE.SERVFAIL, RCODE.REFUSED])
def test_names_the_rcode(code: int) -> None:
    assert (
        dns_query.decode_reply(build_reply("i.example", dns_query.A, code=code), dns_query.A).code
        == RCODE[code]
    )


@given(st.binary(max_size=200))
def test_random_bytes_are_malformed_at_worst(packet: bytes) -> None:
    assert isinstance(dns_query.decode_reply(packet, dns_query.A), DnsAnswer)


@given(st.data())
def test_a_truncated_packet_is_malformed(data: st.DataObject) -> None:
    packet = build_reply("i.example", dns_query.A, RR("i.example", QTYPE.A, rdata=A("192.0.2.1")))
    cut = packet[: data.draw(st.integers(0, len(packet) - 1))]
    assert dns_query.decode_reply(cut, dns_query.A).code == "MALFORMED"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5)])
def test_rejects_an_invalid_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a DNS name"):
        dns_query.encode_query(1, name, dns_query.A)


def test_queries_for_as_long_as_musl_does(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    answer = DnsAnswer(code="NXDOMAIN")

    def query_server(server: str, port: int, name: str, qtype: int, seconds: float) -> DnsAnswer:
        waits.append(seconds)
        return answer if len(waits) == 6 else dns_query.TIMEOUT

    monkeypatch.setattr(dns_query, "_query_server", query_server)
    assert dns_query.query(("192.0.2.1", "192.0.2.2"), "i.example", dns_query.A) == answer
    assert sum(waits) == pytest.approx(5.0)


def test_reports_an_unreachable_server() -> None:
    assert dns_query.query(("127.0.0.1",), "i.example", dns_query.A, port=1).code == "UNREACHABLE"
    assert dns_query.query((), "i.example", dns_query.A) == dns_query.TIMEOUT
