"""The client of an index: what it says of a server that does not answer, and what it lists."""

from __future__ import annotations

import socket

import pytest
from pytest_httpserver import HTTPServer

from mirror.client import IndexClient
from mirror.core.errors import IndexTimeout, MirrorIndexError
from mirror.core.wait import Deadline
from mirror.store.inventory import CachedProject, PrivateProject


def test_a_deadline_that_has_passed_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with IndexClient(url, Deadline.after(0)) as client, pytest.raises(IndexTimeout) as error:
            client.login("root", "x")
    assert error.value.exit_code == 4
    assert "--timeout" in error.value.next_step


def test_a_server_that_is_not_there_is_no_timeout() -> None:
    with (
        IndexClient("http://127.0.0.1:1", Deadline.after(30)) as client,
        pytest.raises(MirrorIndexError) as error,
    ):
        client.login("root", "x")
    assert error.value.exit_code == 1


def test_lists_private_projects_with_their_files(httpserver: HTTPServer) -> None:
    release = "/workloads/stable/+f/ab/cd/house_lib-1.0-py3-none-any.whl"
    index = {"result": {"type": "stage", "projects": ["house-secret", "house-lib"]}}
    versions = {"1.0": {"+links": [{"href": httpserver.url_for(release)}]}, "0": {}}
    httpserver.expect_request("/workloads/stable").respond_with_json(index)
    httpserver.expect_request("/workloads/stable/house-lib").respond_with_json({"result": versions})
    httpserver.expect_request("/workloads/stable/house-secret").respond_with_json({}, status=404)
    with IndexClient(httpserver.url_for("").rstrip("/"), Deadline.after(30)) as client:
        assert client.list_private_projects() == (
            PrivateProject(name="house-lib", files=("house_lib-1.0-py3-none-any.whl",)),
            PrivateProject(name="house-secret", files=()),
        )


def test_lists_cached_projects_or_nothing(httpserver: HTTPServer) -> None:
    cached = [{"name": "idna", "files": 2, "bytes": 7}]
    httpserver.expect_ordered_request("/+mirror/projects").respond_with_json(cached)
    httpserver.expect_ordered_request("/+mirror/projects").respond_with_json({}, status=404)
    with IndexClient(httpserver.url_for("").rstrip("/"), Deadline.after(30)) as client:
        assert client.list_cached_projects() == (CachedProject(name="idna", files=2, size=7),)
        assert client.list_cached_projects() is None
