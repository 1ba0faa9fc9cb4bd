"""The mirror's own page: read by a parser, with hostile names and states."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from mirror.cache.home_page import ListedProject, render_home_page
from mirror.cache.scrubber import Scrubber
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "code", "pre"),
    *("table", "tr", "th", "td", "form", "label", "input", "button", "a", "br", "span"),
}


class PageReader(HTMLParser):
    """Collects the tags, attributes, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "href":
                self.links.append(value or "")
            if name == "value":
                self.values.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def read(projects: list[ListedProject], query: str = "", **status: object) -> PageReader:
    html = render_home_page(
        root_url="http://10.1.2.3:3141", status=status, projects=projects, query=query
    )
    return PageReader(html)


def test_shows_state_packages_and_how_to_use_it() -> None:
    page = read(
        [ListedProject("acme", True), ListedProject("lib", False, 3, 2_500_000)],
        upstreams=[
            {"name": "default", "url": "https://a.example/", "state": "ok"},
            {"name": "cpu", "url": "https://b.example/", "state": "away", "error": "refused"},
        ],
        volume={"free": 10**9, "size": 2 * 10**9},
        files=3,
        policy=["min-age 7d"],
    )
    for text in ("upstream cpu", "does not answer: refused", "1.0 of 2.0 GB", "min-age 7d"):
        assert text in page.text
    assert page.links == ["/workloads/stable/+simple/acme/", "/workloads/stable/+simple/lib/"]
    assert "3 files" in page.text
    assert "2.5 MB" in page.text
    index = "http://10.1.2.3:3141/workloads/stable/+simple/"
    assert f"pip install --trusted-host 10.1.2.3 \\\n    --index-url {index} fastapi" in page.text
    assert f"export UV_DEFAULT_INDEX={index}" in page.text
    assert f"poetry source add --priority=primary mirror {index}" in page.text
    assert f"pdm config pypi.url {index}" in page.text
    assert page.tags <= ALLOWED, "it needs no script and loads nothing"
    assert "src" not in page.attributes


def test_everything_from_outside_is_escaped() -> None:
    plain = read([ListedProject("lib", False)])
    upstream = {"name": HOSTILE, "url": HOSTILE, "state": "away", "error": HOSTILE}
    page = read(
        [ListedProject(HOSTILE, False), ListedProject(HOSTILE, True)],
        query="<SCRIPT>",
        upstreams=[upstream],
        policy=[HOSTILE],
        files=HOSTILE,
    )
    assert page.tags <= ALLOWED
    assert page.attributes <= plain.attributes | {"class"}
    assert page.text.count(HOSTILE) == 7
    assert page.values == ["<SCRIPT>"]
    html = render_home_page(root_url=f"http://{HOSTILE}", status={}, projects=[], query=HOSTILE)
    assert PageReader(html).tags <= ALLOWED


@pytest.mark.parametrize(
    ("query", "names"), [("LI", ["lib", "ali"]), ("x", []), (" ", ["acme", "lib", "ali"])]
)
def test_searches_names(query: str, names: list[str]) -> None:
    projects = [
        ListedProject("acme", True),
        ListedProject("lib", False),
        ListedProject("ali", False),
    ]
    page = read(projects, query)
    assert [link.split("/")[-2] for link in page.links] == names


def test_shows_at_most_200_projects() -> None:
    page = read([ListedProject(f"lib-{n}", False) for n in range(1000)])
    assert len(page.links) == 200
    assert "1000 projects, private and cached, the first 200 are shown" in page.text


@pytest.fixture
def cache(tmp_path: Path, index: FaultyUpstream) -> Iterator[CacheClient]:
    index.add_package("lib")
    with run_cache(tmp_path / "data/public", index.url, Scrubber(tmp_path / "data")) as client:
        (tmp_path / "data/private").mkdir()
        (tmp_path / "data/private/acme").touch()
        client.fetch_sha256("lib")
        yield client


def test_the_cache_sends_it_with_headers_that_allow_no_script(cache: CacheClient) -> None:
    url = f"{cache.url}/?q={quote(HOSTILE)}%ff%00"
    response = httpx.get(url, headers={"X-Mirror-Host": "10.1.2.3:3141"}, trust_env=False)
    assert response.status_code == 200
    assert PageReader(response.text).tags <= ALLOWED
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"].startswith("default-src 'none';")
    page = PageReader(httpx.get(f"{cache.url}/", trust_env=False).text)
    assert [link.split("/")[-2] for link in page.links] == ["acme", "lib"]
