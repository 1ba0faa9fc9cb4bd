"""The front before a real devpi, with a stand-in upstream on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import RunProgram
from tests.local.mirror_home import MirrorHome

JSON = "application/vnd.pypi.simple.v1+json"
PROJECTS = [f"new-{number}" for number in range(12)]
CLIENTS = 8


@pytest.fixture
def upstream(httpserver: HTTPServer) -> HTTPServer:
    """A simple index of projects with one wheel each."""

    def page(request: Request) -> Response:
        project = request.path.strip("/").split("/")[-1]
        if project not in PROJECTS:
            return Response("no such project", status=404)
        name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
        url = f"{request.host_url}files/{name}"
        digest = {"sha256": "0" * 64}
        files = [{"filename": name, "url": url, "hashes": digest, "requires-python": None}]
        told: dict[str, Any] = {"meta": {"api-version": "1.0"}, "name": project, "files": files}
        return Response(json.dumps(told), content_type=JSON)

    httpserver.expect_request(re.compile("/simple/.*")).respond_with_handler(page)
    return httpserver


@pytest.fixture
def place(tmp_path: Path, program: RunProgram, upstream: HTTPServer) -> Iterator[MirrorHome]:
    made = MirrorHome(tmp_path, program)
    made.up("--upstream", upstream.url_for("/simple/"))
    yield made
    made.run_mirror("down")


def get_page(place: MirrorHome, project: str, accept: str) -> httpx.Response:
    url = f"http://127.0.0.1:{place.port}/workloads/stable/+simple/{project}/"
    return httpx.get(url, headers={"Accept": accept}, timeout=60, trust_env=False)


def test_first_requests_at_once_all_get_the_page(place: MirrorHome) -> None:
    """devpi by itself answers 404 to some of them: facts in docs/reliability.md."""
    accepts = (JSON, f"{JSON}, text/html;q=0.01", "text/html", "*/*")
    wanted = [(name, accepts[n % 4]) for name in PROJECTS for n in range(CLIENTS)]
    with ThreadPoolExecutor(4 * CLIENTS) as pool:
        answers = list(pool.map(lambda one: get_page(place, *one), wanted))
    for (name, accept), answer in zip(wanted, answers, strict=True):
        assert answer.status_code == 200, f"{name} {accept}: {answer.status_code}"
        assert f"{name.replace('-', '_')}-1.0-py3-none-any.whl" in answer.text
        assert answer.headers["content-type"].startswith(JSON if JSON in accept else "text/html")


def test_a_project_that_nobody_has_is_404(place: MirrorHome) -> None:
    assert get_page(place, "nobody-has-this", JSON).status_code == 404


def test_no_clients_header_changes_anothers_page(place: MirrorHome) -> None:
    url = f"http://127.0.0.1:{place.port}/workloads/stable/+simple/{PROJECTS[0]}/"
    evil = {
        "Accept": JSON,
        "X-Outside-URL": "http://evil.example",
        "X-Devpi-Absolute-Urls": "1",
        "Host": "evil.example",
    }
    httpx.get(url, headers=evil, timeout=60, trust_env=False)
    assert "evil.example" not in get_page(place, PROJECTS[0], JSON).text
