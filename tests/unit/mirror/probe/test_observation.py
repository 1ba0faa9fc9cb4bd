"""The whole probe against a DNS server of the test's own, as in the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dnslib import QTYPE, RCODE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from mirror.core.codec import load
from mirror.probe.__main__ import main, parse_endpoint
from mirror.probe.model import PodDns
from mirror.probe.observation import IndexEndpoint


class ProviderResolver(BaseResolver):  # type: ignore[misc]
    """NXDOMAIN but for index.example, and for provider.example: NOERROR for all under it."""

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
    quiet = DNSLogger("-request,-reply,-truncated,-data,-error", prefix=False)
    server = DNSServer(ProviderResolver(), address="127.0.0.1", port=0, logger=quiet)
    server.start_thread()
    yield server.server.server_address[1]
    server.stop()
    server.server.server_close()


def test_a_poisoned_list_is_walked(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "search cluster.local provider.example\nnameserver 127.0.0.1\noptions ndots:5\n"
    )
    argv = ["dns", "--name", f"index.example:{port}", "--resolv-conf", str(conf)]
    assert main([*argv, "--tools", str(tmp_path), "--dns-port", str(port)]) == 0
    seen = load(PodDns, json.loads(capsys.readouterr().out))
    assert [(one.suffix, one.expanded.code) for one in seen.suffixes] == [
        ("cluster.local", "NXDOMAIN"),
        ("provider.example", "NOERROR"),
    ]
    (name,) = seen.names
    assert [(step.tried, step.musl, step.glibc) for step in name.steps] == [
        ("index.example.cluster.local", "goes on", "goes on"),
        ("index.example.provider.example", "stops", "goes on"),
        ("index.example", "not asked", "finds"),
    ]
    assert [one.address for one in name.connections] == ["127.0.0.1"]
    assert [one.outcome for one in name.programs if one.libc == "musl"] == ["absent", "absent"]
    assert seen.seconds < 8


def test_names_with_and_without_a_port() -> None:
    assert parse_endpoint("index.example:8080") == IndexEndpoint(name="index.example", port=8080)
    assert parse_endpoint("index.example.") == IndexEndpoint(name="index.example.")


@pytest.mark.parametrize(
    "text", ["", "a b", "-x", "a;b", "x:y", "a..b", "x" * 300, "x" * 199 + "!"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a DNS name|invalid literal"):
        parse_endpoint(text)
