"""Requests to an upstream, from an HTTP server in the test."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from mirror.cache.errors import NotFoundError, UpstreamResponseError, UpstreamUnavailableError
from mirror.cache.project_page import parse_page
from mirror.cache.upstream import UpstreamClient

SHA = "ab" * 32
PAGE = f"""<html><head><title>Links for lib</title></head>
<a href="../../files/lib-1.0.tar.gz#sha256={SHA}">lib-1.0.tar.gz</a></html>"""


@pytest.fixture
def client(httpserver: HTTPServer) -> UpstreamClient:
    return UpstreamClient(httpserver.url_for("/simple"), connections=2)


def read_link(client: UpstreamClient) -> str:
    """Return the URL of the only file on the page of the project lib."""
    response = client.fetch_page("lib", "")
    assert response.body is not None
    page = parse_page(
        response.body, content_type=response.content_type, url=response.url, project="lib"
    )
    return page.links.split(" ")[2]


def test_relative_links_start_at_the_url_of_the_page(
    httpserver: HTTPServer, client: UpstreamClient
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(PAGE, content_type="text/html")
    assert read_link(client) == httpserver.url_for("/files/lib-1.0.tar.gz")


@pytest.mark.parametrize("location", ["/mirror/simple/lib/", "../../mirror/simple/lib/"])
def test_relative_links_start_at_the_url_after_redirects(
    httpserver: HTTPServer, client: UpstreamClient, location: str
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
        (429, UpstreamUnavailableError, True),
        (500, UpstreamUnavailableError, True),
    ],
)
def test_maps_statuses_to_errors(
    httpserver: HTTPServer,
    client: UpstreamClient,
    status: int,
    error: type[Exception],
    unavailable: bool,
) -> None:
    httpserver.expect_request("/simple/lib/").respond_with_data(status=status)
    with pytest.raises(error):
        client.fetch_page("lib", "")
    assert client.is_unavailable == unavailable
    assert bool(client.error) == unavailable


def test_a_page_with_the_same_etag_has_no_body(
    httpserver: HTTPServer, client: UpstreamClient
) -> None:
    httpserver.expect_request("/simple/lib/", headers={"If-None-Match": '"1"'}).respond_with_data(
        status=304
    )
    response = client.fetch_page("lib", '"1"')
    assert (response.body, response.etag) == (None, '"1"')
