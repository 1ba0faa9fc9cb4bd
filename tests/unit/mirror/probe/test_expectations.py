"""Waiting for DNS answers, from a server that changes its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver

from mirror.core.codec import load
from mirror.probe.__main__ import main
from mirror.probe.expectations import ExpectationReport, is_met, parse_expectation
from mirror.probe.model import AnswerKind, DnsAnswer
from tests.unit.mirror.probe.dns_server import serve_dns


class ChangingResolver(BaseResolver):  # type: ignore[misc]
    """Answers AAAA with NXDOMAIN three times, then empty. The API server's name has an A."""

    def __init__(self) -> None:
        self.aaaa_queries = 0

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        if request.q.qtype == QTYPE.AAAA:
            self.aaaa_queries += 1
            reply.header.rcode = RCODE.NXDOMAIN if self.aaaa_queries <= 3 else RCODE.NOERROR
        elif str(request.q.qname) == "kubernetes.default.svc.cluster.local.":
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("10.0.0.1"), ttl=1))
        else:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


@pytest.fixture
def port() -> Iterator[int]:
    with serve_dns(ChangingResolver()) as port:
        yield port


def run_expect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: int, *argv: str
) -> ExpectationReport:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\n")
    assert main(["expect", *argv, "--resolv-conf", str(conf), "--dns-port", str(port)]) == 0
    return load(ExpectationReport, json.loads(capsys.readouterr().out))


def test_waits_until_every_answer_is_as_expected(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = ("x.invalid/AAAA/empty", "kubernetes.default.svc.cluster.local/A/exists")
    argv = (*expected, "gone.example/A/NXDOMAIN", "--seconds", "20")
    assert run_expect(tmp_path, capsys, port, *argv).unmet == ()


def test_reports_an_expectation_that_is_not_met_in_time(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_expect(tmp_path, capsys, port, "gone.example/A/exists", "--seconds", "1")
    (unmet,) = report.unmet
    assert (unmet.server, unmet.name, unmet.code) == ("127.0.0.1", "gone.example", "NXDOMAIN")


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (DnsAnswer(code="NOERROR"), {"empty"}),
        (DnsAnswer(code="NOERROR", addresses=("10.0.0.1",)), {"exists"}),
        (DnsAnswer(code="NXDOMAIN"), {"NXDOMAIN"}),
        (DnsAnswer(code="TIMEOUT"), set()),
        (DnsAnswer(code="SERVFAIL"), set()),
    ],
)
def test_is_met(answer: DnsAnswer, kinds: set[str]) -> None:
    assert {kind for kind in get_args(AnswerKind) if is_met(answer, kind)} == kinds


@pytest.mark.parametrize("text", ["x", "x/MX/empty", "x/A/maybe", "x/A/empty/more"])
def test_rejects_an_invalid_expectation(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_expectation(text)
