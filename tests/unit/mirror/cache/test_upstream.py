"""Requests to an upstream, from an HTTP server in the test."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from mirror.cache import upstream
from mirror.cache.addresses import ForbiddenAddressError, classify_address
from mirror.cache.errors import (
    NotFoundError,
    RateLimitedError,
    UpstreamResponseError,
    UpstreamUnavailableError,
)
from mirror.cache.project_page import parse_page
from mirror.cache.upstream import UpstreamClient, UpstreamResponse

SHA = "ab" * 32
PAGE = f"""<html><head><title>Links for lib</title></head>
<a href="../../files/lib-1.0.tar.gz#sha256={SHA}">lib-1.0.tar.gz</a></html>"""


class SyncClient:
    """A client of an upstream that runs in an event loop of its own."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self.upstream, self._runner = UpstreamClient(url), runner

    def fetch_page(self, project: str = "lib", etag: str = "") -> UpstreamResponse:
        return self._runner.run(self.upstream.fetch_page(project, etag))

    def read_file(self, url: str) -> bytes:
        async def read() -> bytes:
            async with self.upstream.stream_file(url) as response:
                return await response.content.read()

        return self._runner.run(read())


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[SyncClient]:
    with asyncio.Runner() as runner:
        client = SyncClient(httpserver.url_for("/simple"), runner)
        yield client
        runner.run(client.upstream.close())


def read_link(client: SyncClient) -> str:
    """Return the URL of the only file on the page of the project lib."""
    response = client.fetch_page()
    page = parse_page(
        response.decode_body(), content_type=response.content_type, url=response.url, project="lib"
    )
    return page.links.split(" ")[2]


def test_relative_links_start_at_the_url_of_the_page(
    httpserver: HTTPServer, client: SyncClient
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(PAGE, content_type="text/html")
    assert read_link(client) == httpserver.url_for("/files/lib-1.0.tar.gz")


@pytest.mark.parametrize("location", ["/mirror/simple/lib/", "../../mirror/simple/lib/"])
def test_relative_links_start_at_the_url_after_redirects(
    httpserver: HTTPServer, client: SyncClient, location: str
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(
        status=301, headers={"Location": location}
    )
    httpserver.expect_request("/mirror/simple/lib/").respond_with_data(
        PAGE, content_type="text/html"
    )
    assert read_link(client) == httpserver.url_for("/mirror/files/lib-1.0.tar.gz")


@pytest.mark.parametrize(
    ("status", "error", "unavailable"),
    [
        (404, NotFoundError, False),
        (410, NotFoundError, False),
        (403, UpstreamResponseError, False),
        (429, RateLimitedError, False),
        (500, UpstreamUnavailableError, True),
    ],
)
def test_maps_statuses_to_errors(
    httpserver: HTTPServer,
    client: SyncClient,
    status: int,
    error: type[Exception],
    unavailable: bool,
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(status=status)
    with pytest.raises(error):
        client.fetch_page()
    assert client.upstream.is_unavailable == unavailable
    assert bool(client.upstream.error) == unavailable


def test_a_page_with_the_same_etag_has_no_body(httpserver: HTTPServer, client: SyncClient) -> None:
    httpserver.expect_request("/simple/lib/", headers={"If-None-Match": '"1"'}).respond_with_data(
        status=304
    )
    response = client.fetch_page("lib", '"1"')
    assert (response.body, response.etag) == (None, '"1"')


def test_a_failing_file_says_nothing_about_the_index(
    httpserver: HTTPServer, client: SyncClient
) -> None:
    httpserver.expect_request("/files/a").respond_with_data(status=500)
    with pytest.raises(UpstreamUnavailableError):
        client.read_file(httpserver.url_for("/files/a"))
    assert not client.upstream.is_unavailable
    assert client.upstream.error == ""


def test_waits_as_long_as_a_limited_request_asks_for(
    httpserver: HTTPServer, client: SyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def record(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", record)
    limited = httpserver.expect_ordered_request("/simple/lib/")
    limited.respond_with_data(status=429, headers={"Retry-After": "7"})
    httpserver.expect_ordered_request("/simple/lib/").respond_with_data(
        PAGE, content_type="text/html"
    )
    assert client.fetch_page().body is not None
    assert pauses == [7.0]


@pytest.mark.parametrize(
    ("header", "requests", "passed_on"), [("7", 3, 7.0), ("900", 1, 900.0), ("", 1, 5.0)]
)
def test_passes_a_long_pause_on(
    httpserver: HTTPServer,
    client: SyncClient,
    monkeypatch: pytest.MonkeyPatch,
    header: str,
    requests: int,
    passed_on: float,
) -> None:
    async def skip(seconds: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", skip)
    headers = {"Retry-After": header} if header else {}
    httpserver.expect_request("/simple/lib/").respond_with_data(status=429, headers=headers)
    with pytest.raises(RateLimitedError) as error:
        client.fetch_page()
    assert error.value.retry_after == passed_on
    assert len(httpserver.log) == requests


def test_unpacks_compressed_pages(httpserver: HTTPServer, client: SyncClient) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(
        gzip.compress(PAGE.encode()), headers={"Content-Encoding": "gzip"}
    )
    assert client.fetch_page().decode_body() == PAGE.encode()
    assert httpserver.log[0][0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(PAGE.encode())[:-9], gzip.compress(bytes(2000))],
    ids=["not gzip", "cut off", "too large"],  # the bytes have the time in them
)
def test_refuses_wrong_or_huge_compressed_pages(
    httpserver: HTTPServer, client: SyncClient, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(upstream, "MAX_PAGE_BYTES", 1000)
    httpserver.expect_request("/simple/lib/").respond_with_data(
        body, headers={"Content-Encoding": "gzip"}
    )
    with pytest.raises(UpstreamResponseError):
        client.fetch_page().decode_body()


@pytest.mark.parametrize(("size", "is_refused"), [(1000, False), (1001, True)])
def test_refuses_huge_pages_before_they_are_complete(
    httpserver: HTTPServer,
    client: SyncClient,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    is_refused: bool,
) -> None:
    monkeypatch.setattr(upstream, "MAX_PAGE_BYTES", 1000)
    httpserver.expect_request("/simple/lib/").respond_with_data(b"x" * size)
    if is_refused:
        with pytest.raises(UpstreamResponseError, match="larger than 1000 bytes"):
            client.fetch_page()
    else:
        assert client.fetch_page().decode_body() == b"x" * size


def test_sends_no_cookies_back(httpserver: HTTPServer, client: SyncClient) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(
        PAGE, content_type="text/html", headers={"Set-Cookie": "session=1"}
    )
    client.fetch_page()
    client.fetch_page()
    assert "Cookie" not in httpserver.log[1][0].headers


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "global"),
        ("2a00:1450::1", "global"),
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::1", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.1.2.3", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00:ec2::254", "private"),
        ("224.0.0.1", "other"),
        ("255.255.255.255", "other"),
    ],
)
def test_classifies_addresses(address: str, kind: str) -> None:
    assert classify_address(address) == kind


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x-1.tar.gz",
        "http://[fe80::1]/x-1.tar.gz",
        "http://[::ffff:10.0.0.1]/x-1.tar.gz",
    ],
)
def test_follows_no_link_and_no_redirect_to_addresses_inside(
    httpserver: HTTPServer, client: SyncClient, url: str
) -> None:
    """The upstream is on loopback, so only that is allowed besides public addresses."""
    with pytest.raises(ForbiddenAddressError):
        client.read_file(url)
    httpserver.expect_request("/files/a").respond_with_response(
        Response(status=302, headers={"Location": url})
    )
    with pytest.raises(ForbiddenAddressError):
        client.read_file(httpserver.url_for("/files/a"))


def test_names_that_lead_inside_are_refused(httpserver: HTTPServer) -> None:
    """The index is outside; names and odd spellings of addresses lead to this machine."""
    with asyncio.Runner() as runner:
        client = SyncClient("http://192.0.32.8/simple/", runner)
        for host in ("localhost", "2130706433", "127.1", "0x7f.1"):
            with pytest.raises(UpstreamResponseError):
                client.read_file(f"http://{host}:{httpserver.port}/files/a")
        runner.run(client.upstream.close())
    assert httpserver.log == []


@pytest.mark.parametrize("location", ["ftp://h.example/x", "file:///etc/passwd", "gopher://x"])
def test_follows_only_http(httpserver: HTTPServer, client: SyncClient, location: str) -> None:
    httpserver.expect_request("/files/a").respond_with_response(
        Response(status=302, headers={"Location": location})
    )
    with pytest.raises(UpstreamResponseError, match="redirects to"):
        client.read_file(httpserver.url_for("/files/a"))


def test_follows_a_limited_number_of_redirects(httpserver: HTTPServer, client: SyncClient) -> None:
    httpserver.expect_request("/files/a").respond_with_response(
        Response(status=302, headers={"Location": "/files/a"})
    )
    with pytest.raises(UpstreamResponseError, match="too often"):
        client.read_file(httpserver.url_for("/files/a"))
    assert len(httpserver.log) == 6


def test_an_index_may_have_pages_only_without_the_slash(
    httpserver: HTTPServer, client: SyncClient
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(status=404)
    httpserver.expect_request("/simple/lib").respond_with_data(PAGE, content_type="text/html")
    for _ in range(2):
        assert client.fetch_page().body is not None
    assert [request.path for request, _ in httpserver.log] == [
        "/simple/lib/",
        "/simple/lib",
        "/simple/lib",
    ]


def test_a_missing_project_is_asked_for_once_when_pages_have_been_found(
    httpserver: HTTPServer, client: SyncClient
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(PAGE, content_type="text/html")
    httpserver.expect_request("/simple/gone/").respond_with_data(status=404)
    client.fetch_page()
    with pytest.raises(NotFoundError):
        client.fetch_page("gone")
    assert len(httpserver.log) == 2
