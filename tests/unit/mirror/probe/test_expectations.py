"""Waiting for answers, against a DNS server that changes its mind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from mirror.core.codec import load
from mirror.probe.__main__ import main
from mirror.probe.expectations import ExpectationReport, is_met, parse_expectation
from mirror.probe.model import DnsAnswer


class ChangingResolver(BaseResolver):  # type: ignore[misc]
    """AAAA of anything: NXDOMAIN three times, then empty. The API server's name has an A."""

    def __init__(self) -> None:
        self.asked = 0

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        if request.q.qtype == QTYPE.AAAA:
            self.asked += 1
            reply.header.rcode = RCODE.NXDOMAIN if self.asked <= 3 else RCODE.NOERROR
        elif str(request.q.qname) == "kubernetes.default.svc.cluster.local.":
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("10.0.0.1"), ttl=1))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


@pytest.fixture
def port() -> Iterator[int]:
    quiet = DNSLogger("-request,-reply,-truncated,-data,-error", prefix=False)
    server = DNSServer(ChangingResolver(), address="127.0.0.1", port=0, logger=quiet)
    server.start_thread()
    yield server.server.server_address[1]
    server.stop()
    server.server.server_close()


def run_expect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: int, *argv: str
) -> ExpectationReport:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\n")
    more = ("--resolv-conf", str(conf), "--dns-port", str(port))
    assert main(["expect", *argv, *more]) == 0
    return load(ExpectationReport, json.loads(capsys.readouterr().out))


def test_it_waits_until_all_came_true(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("x.invalid/AAAA/empty", "kubernetes.default.svc.cluster.local/A/exists")
    told = run_expect(tmp_path, capsys, port, *asked, "gone.example/A/NXDOMAIN", "--seconds", "20")
    assert told.unmet == ()


def test_what_does_not_come_true_is_told(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run_expect(tmp_path, capsys, port, "gone.example/A/exists", "--seconds", "1")
    (unmet,) = told.unmet
    assert (unmet.server, unmet.name, unmet.code) == ("127.0.0.1", "gone.example", "NXDOMAIN")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (DnsAnswer(code="NOERROR"), {"empty"}),
        (DnsAnswer(code="NOERROR", addresses=("10.0.0.1",)), {"exists"}),
        (DnsAnswer(code="NXDOMAIN"), {"NXDOMAIN"}),
        (DnsAnswer(code="TIMEOUT"), set()),
        (DnsAnswer(code="SERVFAIL"), set()),
    ],
)
def test_met(answer: DnsAnswer, wanted: set[str]) -> None:
    assert {one for one in ("empty", "exists", "NXDOMAIN") if is_met(answer, one)} == wanted


@pytest.mark.parametrize("text", ["x", "x/MX/empty", "x/A/maybe", "x/A/empty/more"])
def test_questions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_expectation(text)
