"""The whole probe, against a DNS server that answers like a provider's."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dnslib import QTYPE, RCODE, RR, DNSRecord
from dnslib import A as AddressRecord
from dnslib.server import BaseResolver

from mirror.core.codec import load
from mirror.core.errors import ProgramError
from mirror.core.wait import Deadline
from mirror.probe import network, observation, programs
from mirror.probe.__main__ import main
from mirror.probe.dns_query import A, query
from mirror.probe.endpoint import IndexEndpoint, parse_endpoint
from mirror.probe.model import ConnectionAttempt, DnsAnswer, PodDns
from tests.unit.mirror.probe.dns_server import serve_dns


class ProviderResolver(BaseResolver):  # type: ignore[misc]
    """NXDOMAIN, except for index.example, and NOERROR for every name under provider.example."""

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        name = str(request.q.qname)
        if name == "index.example.":
            if request.q.qtype == QTYPE.A:
                reply.add_answer(RR(name, QTYPE.A, rdata=AddressRecord("127.0.0.1"), ttl=1))
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


class RecordingPool(ThreadPoolExecutor):
    """A pool that counts the tasks that are submitted before the first result is asked for."""

    sizes: ClassVar[list[int]] = []
    at_once: ClassVar[list[int]] = []

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.sizes.append(size)
        self.at_once.append(0)
        self._has_waited = False

    def submit(self, *arguments: Any, **options: Any) -> Any:
        future = super().submit(*arguments, **options)
        if not self._has_waited:
            self.at_once[-1] += 1
        result = future.result

        def wait(*words: Any) -> Any:
            self._has_waited = True
            return result(*words)

        future.result = wait  # type: ignore[method-assign, assignment]
        return future


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where DNS never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


@pytest.mark.parametrize("names", [1, 4])
def test_no_query_waits_until_another_times_out(
    names: int, silent_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "ThreadPoolExecutor", RecordingPool)
    search = " ".join(f"d{number}.example" for number in range(12))
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"search {search}\nnameserver 127.0.0.1\noptions ndots:5\n")
    options = observation.ProbeOptions(
        resolv_conf=conf,
        tools=tmp_path,
        dns_port=silent_port,
        mirror=IndexEndpoint(name="127.0.0.1", port=1),
        seconds=0.2,
    )
    endpoints = [IndexEndpoint(name=f"i{number}.example") for number in range(names)]
    view = observation.observe_pod(endpoints, options)
    assert {step.a.code for name in view.names for step in name.steps} == {"TIMEOUT"}
    assert RecordingPool.sizes[-1] >= RecordingPool.at_once[-1] > 48 + 1


def test_everything_gets_the_same_deadline(
    silent_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe of a node whose DNS is dead ends by one limit, however many things it tries."""
    limits: list[float] = []

    def run(*_: Any, deadline: Deadline, **__: Any) -> Any:
        limits.append(deadline.at)
        raise ProgramError("killed")

    def query(*_: Any, port: int, deadline: Deadline) -> DnsAnswer:
        limits.append(deadline.at)
        return DnsAnswer(code="NOERROR", addresses=("127.0.0.1",))

    def connect(address: str, _: int, deadline: Deadline) -> ConnectionAttempt:
        limits.append(deadline.at)
        return ConnectionAttempt(address=address, outcome="timeout")

    monkeypatch.setattr(programs, "run", run)
    monkeypatch.setattr(observation, "query", query)
    monkeypatch.setattr(network, "try_connect", connect)
    conf = tmp_path / "resolv.conf"
    conf.write_text("search a.example\nnameserver 127.0.0.1\n")
    (tmp_path / "uv").touch()
    (tmp_path / "busybox").touch()
    options = observation.ProbeOptions(resolv_conf=conf, tools=tmp_path, seconds=2.0)
    observation.observe_pod([IndexEndpoint(name="index.example")], options)
    assert len(set(limits)) == 1, "one deadline for all, not one for each"
    expected = 4 + 4 + 4 + 2 + 2
    assert len(limits) == expected, "queries, made-up names, programs, versions of uv, connections"


def test_asks_nothing_after_the_deadline(silent_port: int) -> None:
    late = Deadline.after(0)
    answer = query(("127.0.0.1",), "index.example", A, port=silent_port, deadline=late)
    assert answer == DnsAnswer(code="TIMEOUT")
    attempt = network.try_connect("127.0.0.1", 1, late)
    assert (attempt.outcome, attempt.text) == ("timeout", "no time was left")


def test_parses_names_with_and_without_a_port() -> None:
    assert parse_endpoint("index.example:8080") == IndexEndpoint(name="index.example", port=8080)
    assert parse_endpoint("index.example.") == IndexEndpoint(name="index.example.")


@pytest.mark.parametrize(
    "text", ["", "a b", "-x", "a;b", "x:y", "a..b", "x" * 300, "x" * 199 + "!"]
)
def test_rejects_an_invalid_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a DNS name|invalid literal"):
        parse_endpoint(text)
