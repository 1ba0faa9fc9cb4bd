"""Requests with a body: nginx does not send the body to the cache; the cache refuses bodies."""

from __future__ import annotations

import json
import re
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

STATUS_LINE = re.compile(rb"HTTP/1\.[01] \d{3} ")
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


def send_until_closed(port: int, request: bytes) -> bytes:
    """Send bytes; return the response. Fails unless the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = b""
        try:
            connection.sendall(request)
            while block := connection.recv(65536):
                received += block
        except (ConnectionResetError, BrokenPipeError):
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
        b"Content-Length: 60\r\nContent-Length: 60\r\n",
        b"Content-Length: 60\r\nContent-Length: 61\r\n",
        b"Content-Length: +60\r\n",
        b"Content-Length: 60, 60\r\n",
        b"Content-Length: 0x3c\r\n",
        b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: identity, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
        b"X: y\nContent-Length: 60\r\n",
        b"X: y\rContent-Length: 60\r\nContent-Length: 60\r\n",
    ],
)
def test_closes_a_connection_with_a_request_body(cache_port: int, headers: bytes) -> None:
    for method in (b"GET", b"HEAD", b"POST"):
        request = method + b" /healthz HTTP/1.1\r\nHost: public\r\n" + headers + b"\r\n"
        received = send_until_closed(cache_port, request + smuggled_request("/+mirror/status"))
        assert re.match(rb"HTTP/1\.[01] 40[05] ", received), received
        assert len(STATUS_LINE.findall(received)) == 1, "the body is not read as a request"
        assert b"upstream" not in received


@pytest.mark.parametrize(
    "body", [b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
def test_refuses_bodies_that_are_framed_well(cache_port: int, body: bytes) -> None:
    """The request that follows on the same connection is not answered either."""
    request = b"GET /healthz HTTP/1.1\r\nHost: public\r\n" + body
    received = send_until_closed(cache_port, request + smuggled_request("/+mirror/status"))
    assert received.startswith(b"HTTP/1.1 400 "), received
    assert len(STATUS_LINE.findall(received)) == 1
    assert b"Connection: close" in received


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/1.1 x\r\nHost: public\r\n\r\n",
        "GET /healthz HTTP/2.7\r\nHost: public\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\nHost : public\r\n\r\n",
        "G\x00ET /healthz HTTP/1.1\r\nHost: public\r\n\r\n",
        f"GET /{'x' * 20_000} HTTP/1.1\r\nHost: public\r\n\r\n",
        f"GET /healthz HTTP/1.1\r\nX-Long: {'x' * 20_000}\r\n\r\n",
    ],
)
def test_refuses_what_is_no_request(cache_port: int, request_text: str) -> None:
    received = send_until_closed(cache_port, request_text.encode() + smuggled_request("/healthz"))
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", received) or not received, received
    assert len(STATUS_LINE.findall(received)) <= 1


@pytest.mark.parametrize("part", [0.3, 0.9])
def test_an_early_end_harms_nobody_else(cache_port: int, part: float) -> None:
    """A client leaves within its request, or before its response."""
    request = smuggled_request("/healthz")
    for length in (int(len(request) * part), len(request)):
        with socket.create_connection(("127.0.0.1", cache_port), timeout=5) as connection:
            connection.sendall(request[:length])
    assert send(cache_port, request).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "path",
    [
        "/root/pypi/+f/x/{hex}/..%2f..%2f..%2fdevpi%2f.nodeinfo",
        "/root/pypi/+f/..%2f..%2fdevpi/{hex}/x-1.0.tar.gz",
        "/root/pypi/+f/x/{hex}/x%00-1.0.tar.gz",
        "/root/pypi/+f/x/{hex}/%2e%2e",
        "/root/pypi/+f/x/../x-1.0.tar.gz",
        "/workloads/stable/+simple/..%2f..%2fdevpi/",
        "/workloads/stable/+simple/%2e%2e/",
        "/workloads/stable/+simple/a%00b/",
        "/packages/ab/cd/{sixty}/..%2fx-1.0.tar.gz",
        "/packages/ab/cd/{sixty}/../x-1.0.tar.gz",
        "/packages/ab%2fcd/{sixty}/x-1.0.tar.gz",
        "/packages/..%2f..%2fdevpi/.nodeinfo/x/x-1.0.tar.gz",
        "/packages/ab/cd/{sixty}/%2fetc%2fpasswd.whl",
        "//packages//ab/cd/{sixty}/x.txt",
        "/+held/pages/x.json",
        "http://elsewhere.example/healthz2",
        "*",
    ],
)
def test_no_path_leads_to_another_file(
    cache_port: int, upstream: FaultyUpstream, path: str
) -> None:
    """The cache itself, asked without nginx: encoded slashes, dots, NUL."""
    upstream.request_counts.clear()
    target = path.format(hex="0" * 64, sixty="0" * 60)
    received = send(cache_port, smuggled_request(target))
    assert re.match(rb"HTTP/1\.[01] (301|40[045]) ", received), received
    assert b"X-Accel-Redirect" not in received
    # a page that is not found is asked for without its last slash too
    assert set(upstream.request_counts) <= {"/simple/x/", "/simple/x"}
    assert set(upstream.request_counts.values()) <= {1}


def test_keeps_a_connection_without_request_bodies(cache_port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: public\r\n\r\n"
    received = send(cache_port, request + smuggled_request("/+mirror/status"))
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert json.loads(received.rpartition(b"\r\n\r\n")[2])["upstream"]
