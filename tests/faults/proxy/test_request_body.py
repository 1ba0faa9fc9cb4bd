"""Requests with a body: nginx does not send the body to the cache; the cache refuses bodies."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirror.cache.scrubber import Scrubber
from mirror.settings import SIMPLE_JSON
from tests.faults.cache_process import run_cache
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient

SLOW = 4.0  # seconds; the response to the smuggled request arrives while a victim waits


def smuggled_request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: public\r\nAccept: {SIMPLE_JSON}\r\n\r\n".encode()


def with_length(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(body: bytes) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


FRAMINGS: dict[str, Callable[[bytes], bytes]] = {
    "length": with_length,
    "chunked": chunked,
    "expect": lambda body: b"Expect: 100-continue\r\n" + with_length(body),
    "early close": lambda body: with_length(body + b"never sent").removesuffix(b"never sent"),
}


def send(port: int, request: bytes, seconds: float = 2.0) -> bytes:
    """Send bytes on a new connection; return the response until the connection closes or idles."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        try:
            while block := connection.recv(65536):
                received += block
        except (TimeoutError, ConnectionResetError):
            pass
    return received


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    "path",
    [
        "/workloads/stable/+simple/{cold}/",
        "/root/pypi/+simple/{cold}/",
        "/root/pypi/+f/{cold}/{hex}/x-1.0.tar.gz",
        "/root/pypi/+simple/{cold}",  # redirected
        "/+mirror/status",
    ],
)
def test_a_body_is_never_read_as_another_clients_request(
    mirror: MirrorClient, upstream: FaultyUpstream, framing: str, path: str
) -> None:
    number = zlib.crc32(f"{framing} {path}".encode())
    upstream.add_project(f"smuggled-{number}", "99.0")
    upstream.projects[f"smuggled-{number}"].delay = SLOW
    body = smuggled_request(f"/root/pypi/+simple/smuggled-{number}/")
    target = path.format(cold=f"cold-{number}", hex="0" * 64)
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    send(mirror.home.port, request + FRAMINGS[framing](body), 1.0)
    for victim in (f"victim-{number}-{i}" for i in range(3)):
        upstream.add_project(victim, "1.0")
        response = mirror.get_page(victim)
        assert response.status_code == 200, response.text
        assert response.json()["name"] == victim


@pytest.fixture
def cache_port(tmp_path: Path, upstream: FaultyUpstream) -> Iterator[int]:
    """Run the cache without nginx; yields its port."""
    with run_cache(tmp_path / "public", upstream.url, Scrubber(tmp_path)) as client:
        yield client.port


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 60\r\n",
        b"Content-Length: 0\r\nContent-Length: 60\r\n",
        b"content-length : 60\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n",
        b"no colon here\r\nContent-Length: 60\r\n",
    ],
)
def test_closes_a_connection_with_a_request_body(cache_port: int, headers: bytes) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: public\r\n" + headers + b"\r\n"
    received = send(cache_port, request + smuggled_request("/+mirror/status"))
    assert received.startswith(b"HTTP/1.1 400 "), received
    assert received.count(b"HTTP/1.1 ") == 1, "the body is not read as a request"
    assert b"Connection: close" in received


def test_keeps_a_connection_without_request_bodies(cache_port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: public\r\n\r\n"
    received = send(cache_port, request + smuggled_request("/+mirror/status"))
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["upstream"]
