"""An upstream that is down, refuses requests, or sends wrong pages and files."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.faulty_upstream import FaultyFile, FaultyProject, FaultyUpstream
from tests.faults.mirror_client import (
    MirrorClient,
    measure_seconds,
    run_concurrently,
    wait_seconds_until,
)
from tests.local.mirror_home import MirrorHome

CACHED = [f"cached-{number}" for number in range(20)]
FAULTS = (
    *("refused", "black hole", "stalled", "slow"),
    *("403", "404", "429", "500", "502", "503"),
    *("portal", "garbage", "another page"),
)
RECOVERY = 60.0  # seconds
MAX_DELAY = 8.0  # seconds more than with a healthy upstream, on a loaded machine


@pytest.fixture(scope="module", autouse=True)
def cached(home: object, upstream: FaultyUpstream) -> Iterator[None]:
    for project in CACHED:
        upstream.add_project(project)
    yield


@pytest.fixture(autouse=True)
def links(mirror: MirrorClient, cached: None) -> dict[str, str]:
    """Fetch a file of each cached project; returns their paths."""
    paths = {project: mirror.find_file_path(project) for project in CACHED}
    for path in paths.values():
        mirror.get(path).raise_for_status()
    return paths


@pytest.mark.parametrize("fault", FAULTS)
def test_serves_the_cache_during_a_fault_and_recovers(
    mirror: MirrorClient, upstream: FaultyUpstream, links: dict[str, str], fault: str
) -> None:
    new = f"new-{fault.replace(' ', '-')}"
    upstream.add_project(new)
    mirror.expire_pages()
    healthy, _ = measure_seconds(
        lambda: run_concurrently(lambda n: mirror.get_page(CACHED[n]), len(CACHED))
    )
    mirror.expire_pages()
    with upstream.inject_fault(fault):
        seconds, pages = measure_seconds(
            lambda: run_concurrently(lambda n: mirror.get_page(CACHED[n]), len(CACHED))
        )
        files = run_concurrently(lambda n: mirror.get(links[CACHED[n]]), len(CACHED))
        uncached = mirror.get_page(new)
    assert [page.status_code for page in pages] == [200] * len(CACHED)
    assert all(page.json()["files"] for page in pages)
    assert [file.status_code for file in files] == [200] * len(CACHED)
    assert seconds < healthy + MAX_DELAY
    if fault == "slow":
        assert uncached.status_code == 200
    elif fault == "404":
        assert uncached.status_code == 404
    else:
        assert uncached.status_code in {502, 503}
    recovery = wait_seconds_until(lambda: mirror.get_page(new).status_code == 200, RECOVERY)
    assert (
        mirror.get(mirror.find_file_path(new)).content
        == upstream.projects[new].files.popitem()[1].content
    )
    print(
        f"{fault}: {len(CACHED)} cached pages in {seconds:.2f} s (healthy {healthy:.2f} s), "
        f"uncached {uncached.status_code}, recovered in {recovery:.1f} s"
    )


def test_serves_a_stored_page_during_a_temporary_404(
    mirror: MirrorClient, upstream: FaultyUpstream
) -> None:
    """A 404 counts only after it has lasted for REMOVAL_DELAY of mirror.cache.page_cache."""
    mirror.expire_pages()
    with upstream.inject_fault("404"):
        for _ in range(3):
            assert mirror.get_page(CACHED[0]).json()["files"]
            mirror.expire_pages()


@pytest.mark.parametrize(
    "kind", ["truncated", "wrong hash", "wrong hash, slow", "longer than announced"]
)
def test_no_client_gets_a_wrong_file(
    mirror: MirrorClient, upstream: FaultyUpstream, kind: str
) -> None:
    """A slow one is streamed, but the stream ends early: no client takes it for complete."""
    project = f"bad-{kind.replace(', ', '-').replace(' ', '-')}"
    good = b"right " * 60_000
    bad = {
        "truncated": FaultyFile(content=good[:1000], length=len(good)),
        "longer than announced": FaultyFile(content=good + b"more", length=len(good) + 4),
    }.get(kind, FaultyFile(content=b"wrong " * 60_000, delay=0.7 if "slow" in kind else 0))
    bad.sha256 = FaultyFile(content=good).sha256
    name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
    upstream.projects[project] = FaultyProject(files={name: bad})
    path = mirror.find_file_path(project)

    def download(_: int) -> str:
        try:
            response = mirror.get(path)
        except (httpx.RemoteProtocolError, httpx.ReadError, http.client.IncompleteRead):
            return "interrupted"
        return str(response.status_code)

    outcomes = run_concurrently(download, 8)
    assert set(outcomes) <= {"502", "503", "interrupted"}, outcomes
    assert mirror.list_cached_files(project) == []
    upstream.projects[project].files[name] = FaultyFile(content=good)
    recovery = wait_seconds_until(lambda: download(0) == "200", RECOVERY)
    assert mirror.get(path).content == good
    print(f"{kind}: {sorted(set(outcomes))}, right after {recovery:.1f} s")


def test_serves_stored_pages_and_files_without_the_cache_program(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream, links: dict[str, str]
) -> None:
    """nginx serves pages of any age; the next `up` restarts the killed program."""
    upstream.add_project("afterwards")
    mirror.expire_pages()
    os.kill(int(home.processes["public"]["pid"]), signal.SIGKILL)
    for project in CACHED[:5]:
        assert mirror.get_page(project).raise_for_status().json()["files"]
        assert mirror.get(links[project]).status_code == 200
    assert mirror.get_page("afterwards").status_code in {502, 503}
    assert home.up()["state"] == "running"
    assert mirror.get_page("afterwards").status_code == 200
