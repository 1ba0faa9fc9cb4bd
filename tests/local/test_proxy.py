"""nginx in front of a real devpi and cache, with an upstream on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from mirror.settings import SIMPLE_JSON
from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome

PROJECTS = [f"new-{number}" for number in range(12)]
CLIENTS = 8


@pytest.fixture
def upstream() -> Iterator[FaultyUpstream]:
    """An index of projects with one file each."""
    index = FaultyUpstream()
    for project in PROJECTS:
        index.add_project(project)
    yield index
    index.stop()


@pytest.fixture
def mirror(tmp_path: Path, program: RunProgram, upstream: FaultyUpstream) -> Iterator[MirrorClient]:
    home = MirrorHome(tmp_path, program)
    home.up("--upstream", upstream.url)
    yield MirrorClient(home)
    home.run_mirror("down")


def test_many_first_requests_at_once_all_get_the_page(mirror: MirrorClient) -> None:
    """devpi by itself answers some of them with 404: docs/reliability.md has the facts."""
    accepts = (SIMPLE_JSON, f"{SIMPLE_JSON}, text/html;q=0.01", "text/html", "*/*")
    requests = [(project, accepts[n % 4]) for project in PROJECTS for n in range(CLIENTS)]

    def get_page(request: tuple[str, str]) -> httpx.Response:
        project, accept = request
        return mirror.get_page(project, {"Accept": accept})

    with ThreadPoolExecutor(4 * CLIENTS) as pool:
        responses = list(pool.map(get_page, requests))
    for (project, accept), response in zip(requests, responses, strict=True):
        assert response.status_code == 200, f"{project} {accept}: {response.status_code}"
        assert f"{project.replace('-', '_')}-1.0-py3-none-any.whl" in response.text
        content_type = SIMPLE_JSON if SIMPLE_JSON in accept else "text/html"
        assert response.headers["content-type"].startswith(content_type)


def test_an_unknown_project_is_404(mirror: MirrorClient) -> None:
    assert mirror.get_page("nobody-has-this").status_code == 404


def test_headers_of_one_client_do_not_change_the_page_of_another(mirror: MirrorClient) -> None:
    headers = {
        "X-Outside-URL": "http://evil.example",
        "X-Devpi-Absolute-Urls": "1",
        "Host": "evil.example",
    }
    mirror.get_page(PROJECTS[0], headers)
    assert "evil.example" not in mirror.get_page(PROJECTS[0]).text
