"""Rows 5 to 8: an upstream that is away, refuses, or answers what is no page or not the file."""

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
# what waiting for a newer page may add to what a healthy upstream takes, on a loaded machine
MAX_DELAY = 8.0


@pytest.fixture(scope="module", autouse=True)
def cached(place: object, upstream: FaultyUpstream) -> Iterator[None]:
    for project in CACHED:
        upstream.add_project(project)
    yield


@pytest.fixture(autouse=True)
def links(mirror: MirrorClient, cached: None) -> dict[str, str]:
    """The cached projects' files, which are there."""
    found = {project: mirror.find_file_path(project) for project in CACHED}
    for path in found.values():
        mirror.get(path).raise_for_status()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_cached_is_served_and_what_is_not_recovers(
    mirror: MirrorClient, upstream: FaultyUpstream, links: dict[str, str], fault: str
) -> None:
    fresh = f"fresh-{fault.replace(' ', '-')}"
    upstream.add_project(fresh)
    mirror.expire_pages()
    healthy, _ = measure_seconds(
        lambda: run_concurrently(lambda n: mirror.get_page(CACHED[n]), len(CACHED))
    )
    mirror.expire_pages()
    with upstream.inject_fault(fault):
        took, pages = measure_seconds(
            lambda: run_concurrently(lambda n: mirror.get_page(CACHED[n]), len(CACHED))
        )
        files = run_concurrently(lambda n: mirror.get(links[CACHED[n]]), len(CACHED))
        uncached = mirror.get_page(fresh)
    assert [page.status_code for page in pages] == [200] * len(CACHED)
    assert all(page.json()["files"] for page in pages)
    assert [file.status_code for file in files] == [200] * len(CACHED)
    assert took < healthy + MAX_DELAY
    if fault == "slow":
        assert uncached.status_code == 200
    elif fault == "404":
        assert uncached.status_code == 404
    else:
        assert uncached.status_code in {502, 503}
    again = wait_seconds_until(lambda: mirror.get_page(fresh).status_code == 200, RECOVERY)
    assert (
        mirror.get(mirror.find_file_path(fresh)).content
        == upstream.projects[fresh].files.popitem()[1].content
    )
    print(
        f"{fault}: {len(CACHED)} cached pages in {took:.2f} s (healthy {healthy:.2f} s), "
        f"uncached {uncached.status_code}, recovered in {again:.1f} s"
    )


def test_a_known_project_outlives_a_404_but_not_for_ever(
    mirror: MirrorClient, upstream: FaultyUpstream
) -> None:
    """A passing 404 is believed only when it lasts: mirror.cache.page_cache.REMOVAL_DELAY."""
    mirror.expire_pages()
    with upstream.inject_fault("404"):
        for _ in range(3):
            assert mirror.get_page(CACHED[0]).json()["files"]
            mirror.expire_pages()


@pytest.mark.parametrize(
    "kind", ["truncated", "wrong hash", "wrong hash, slow", "longer than told"]
)
def test_a_wrong_file_reaches_nobody_and_is_not_kept(
    mirror: MirrorClient, upstream: FaultyUpstream, kind: str
) -> None:
    """What is sent of a slow one breaks off: no client takes it for whole."""
    project = f"bad-{kind.replace(', ', '-').replace(' ', '-')}"
    good = b"right " * 60_000
    bad = {
        "truncated": FaultyFile(content=good[:1000], length=len(good)),
        "longer than told": FaultyFile(content=good + b"more", length=len(good) + 4),
    }.get(kind, FaultyFile(content=b"wrong " * 60_000, delay=0.7 if "slow" in kind else 0))
    bad.sha256 = FaultyFile(content=good).sha256
    name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
    upstream.projects[project] = FaultyProject(files={name: bad})
    path = mirror.find_file_path(project)

    def ask(_: int) -> str:
        try:
            answer = mirror.get(path)
        except (httpx.RemoteProtocolError, httpx.ReadError, http.client.IncompleteRead):
            return "broken off"
        return str(answer.status_code)

    said = run_concurrently(ask, 8)
    assert set(said) <= {"502", "503", "broken off"}, said
    assert mirror.list_cached_files(project) == []
    upstream.projects[project].files[name] = FaultyFile(content=good)
    took = wait_seconds_until(lambda: ask(0) == "200", RECOVERY)
    assert mirror.get(path).content == good
    print(f"{kind}: {sorted(set(said))}, right after {took:.1f} s")


def test_without_the_program_that_fetches_what_is_kept_is_served(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream, links: dict[str, str]
) -> None:
    """Killed: pages of any age and all files are there; the next `up` brings it back."""
    upstream.add_project("afterwards")
    mirror.expire_pages()
    os.kill(int(place.processes["public"]["pid"]), signal.SIGKILL)
    for project in CACHED[:5]:
        assert mirror.get_page(project).raise_for_status().json()["files"]
        assert mirror.get(links[project]).status_code == 200
    assert mirror.get_page("afterwards").status_code in {502, 503}
    assert place.up()["state"] == "running"
    assert mirror.get_page("afterwards").status_code == 200
