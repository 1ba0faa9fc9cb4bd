"""The whole probe, against a DNS server that answers like a provider's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver

from mirror.core.codec import load
from mirror.probe.__main__ import main
from mirror.probe.endpoint import IndexEndpoint, parse_endpoint
from mirror.probe.model import PodDns
from tests.unit.mirror.probe.dns_server import serve_dns


class ProviderResolver(BaseResolver):  # type: ignore[misc]
    """NXDOMAIN, except for index.example, and NOERROR for every name under provider.example."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        name = str(request.q.qname)
        if name == "index.example.":
            if request.q.qtype == QTYPE.A:
                reply.add_answer(RR(name, QTYPE.A, rdata=A("127.0.0.1"), ttl=1))
        elif not name.endswith(".provider.example."):
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


@pytest.fixture
def port() -> Iterator[int]:
    with serve_dns(ProviderResolver()) as port:
        yield port


def test_observes_a_search_list_with_a_provider_domain(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "search cluster.local provider.example\nnameserver 127.0.0.1\noptions ndots:5\n"
    )
    argv = ["dns", "--name", f"index.example:{port}", "--resolv-conf", str(conf)]
    assert main([*argv, "--tools", str(tmp_path), "--dns-port", str(port)]) == 0
    view = load(PodDns, json.loads(capsys.readouterr().out))
    assert [(suffix.suffix, suffix.expanded.code) for suffix in view.suffixes] == [
        ("cluster.local", "NXDOMAIN"),
        ("provider.example", "NOERROR"),
    ]
    (name,) = view.names
    assert [(step.tried, step.musl, step.glibc) for step in name.steps] == [
        ("index.example.cluster.local", "goes on", "goes on"),
        ("index.example.provider.example", "stops", "goes on"),
        ("index.example", "not asked", "finds"),
    ]
    assert [attempt.address for attempt in name.connections] == ["127.0.0.1"]
    assert [run.outcome for run in name.programs if run.libc == "musl"] == ["absent", "absent"]
    assert view.seconds < 8


def test_parses_names_with_and_without_a_port() -> None:
    assert parse_endpoint("index.example:8080") == IndexEndpoint(name="index.example", port=8080)
    assert parse_endpoint("index.example.") == IndexEndpoint(name="index.example.")


@pytest.mark.parametrize(
    "text", ["", "a b", "-x", "a;b", "x:y", "a..b", "x" * 300, "x" * 199 + "!"]
)
def test_rejects_an_invalid_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a DNS name|invalid literal"):
        parse_endpoint(text)
