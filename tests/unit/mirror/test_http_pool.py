"""Opening URLs: credentials, statuses, and no retries."""

from __future__ import annotations

import base64

import pytest
from pytest_httpserver import HTTPServer
from urllib3.exceptions import HTTPError

from mirror.http_pool import open_url


def test_sends_the_credentials_of_the_url(httpserver: HTTPServer) -> None:
    token = base64.b64encode(b"ada:a b").decode()
    httpserver.expect_request("/x", headers={"Authorization": f"Basic {token}"}).respond_with_data(
        b"content"
    )
    url = httpserver.url_for("/x").replace("://", "://ada:a%20b@")
    with open_url(url, timeout=10) as response:
        assert response.read() == b"content"


@pytest.mark.parametrize("status", [204, 401, 404, 429, 500, 503])
def test_refuses_any_status_but_200_at_once(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/x").respond_with_data(b"", status=status)
    with pytest.raises(HTTPError), open_url(httpserver.url_for("/x"), timeout=10):
        pass
    assert len(httpserver.log) == 1, "not tried again"
