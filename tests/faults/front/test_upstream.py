"""Rows 5 to 8: an upstream that is away, refuses, or answers what is no page or not the file."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.asking import Asked, at_once, seconds_until, timed
from tests.faults.unwell import FaultyUpstream, File, Project
from tests.local.place import Place

CACHED = [f"cached-{number}" for number in range(20)]
FAULTS = (
    *("refused", "black hole", "stalled", "slow"),
    *("403", "404", "429", "500", "502", "503"),
    *("portal", "garbage", "another page"),
)
RECOVERY = 60.0  # seconds
# what waiting for a newer page may add to what a healthy upstream takes, on a loaded machine
PATIENCE = 8.0


@pytest.fixture(scope="module", autouse=True)
def cached(place: object, upstream: FaultyUpstream) -> Iterator[None]:
    for project in CACHED:
        upstream.add(project)
    yield


@pytest.fixture(autouse=True)
def links(mirror: Asked, cached: None) -> dict[str, str]:
    """The cached projects' files, which are there."""
    found = {project: mirror.link(project) for project in CACHED}
    for path in found.values():
        mirror.get(path).raise_for_status()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_cached_is_served_and_what_is_not_recovers(
    mirror: Asked, upstream: FaultyUpstream, links: dict[str, str], fault: str
) -> None:
    fresh = f"fresh-{fault.replace(' ', '-')}"
    upstream.add(fresh)
    mirror.age()
    healthy, _ = timed(lambda: at_once(lambda n: mirror.page(CACHED[n]), len(CACHED)))
    mirror.age()
    with upstream.unwell(fault):
        took, pages = timed(lambda: at_once(lambda n: mirror.page(CACHED[n]), len(CACHED)))
        files = at_once(lambda n: mirror.get(links[CACHED[n]]), len(CACHED))
        uncached = mirror.page(fresh)
    assert [page.status_code for page in pages] == [200] * len(CACHED)
    assert all(page.json()["files"] for page in pages)
    assert [file.status_code for file in files] == [200] * len(CACHED)
    assert took < healthy + PATIENCE
    if fault == "slow":
        assert uncached.status_code == 200
    elif fault == "404":
        assert uncached.status_code == 404
    else:
        assert uncached.status_code in {502, 503}
    again = seconds_until(lambda: mirror.page(fresh).status_code == 200, RECOVERY)
    assert (
        mirror.get(mirror.link(fresh)).content
        == upstream.projects[fresh].files.popitem()[1].content
    )
    print(
        f"{fault}: {len(CACHED)} cached pages in {took:.2f} s (healthy {healthy:.2f} s), "
        f"uncached {uncached.status_code}, recovered in {again:.1f} s"
    )


def test_a_known_project_outlives_a_404_but_not_for_ever(
    mirror: Asked, upstream: FaultyUpstream
) -> None:
    """A passing 404 is believed only when it lasts: mirror.public.pages.GONE."""
    mirror.age()
    with upstream.unwell("404"):
        for _ in range(3):
            assert mirror.page(CACHED[0]).json()["files"]
            mirror.age()


@pytest.mark.parametrize(
    "kind", ["truncated", "wrong hash", "wrong hash, slow", "longer than told"]
)
def test_a_wrong_file_reaches_nobody_and_is_not_kept(
    mirror: Asked, upstream: FaultyUpstream, kind: str
) -> None:
    """What is sent of a slow one breaks off: no client takes it for whole."""
    project = f"bad-{kind.replace(', ', '-').replace(' ', '-')}"
    good = b"right " * 60_000
    bad = {
        "truncated": File(content=good[:1000], length=len(good)),
        "longer than told": File(content=good + b"more", length=len(good) + 4),
    }.get(kind, File(content=b"wrong " * 60_000, delay=0.7 if "slow" in kind else 0))
    bad.sha256 = File(content=good).sha256
    name = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
    upstream.projects[project] = Project(files={name: bad})
    path = mirror.link(project)

    def ask(_: int) -> str:
        try:
            answer = mirror.get(path)
        except (httpx.RemoteProtocolError, httpx.ReadError, http.client.IncompleteRead):
            return "broken off"
        return str(answer.status_code)

    said = at_once(ask, 8)
    assert set(said) <= {"502", "503", "broken off"}, said
    assert mirror.kept(project) == []
    upstream.projects[project].files[name] = File(content=good)
    took = seconds_until(lambda: ask(0) == "200", RECOVERY)
    assert mirror.get(path).content == good
    print(f"{kind}: {sorted(set(said))}, right after {took:.1f} s")


def test_without_the_program_that_fetches_what_is_kept_is_served(
    mirror: Asked, place: Place, upstream: FaultyUpstream, links: dict[str, str]
) -> None:
    """Killed: pages of any age and all files are there; the next `up` brings it back."""
    upstream.add("afterwards")
    mirror.age()
    os.kill(int(place.processes["public"]["pid"]), signal.SIGKILL)
    for project in CACHED[:5]:
        assert mirror.page(project).raise_for_status().json()["files"]
        assert mirror.get(links[project]).status_code == 200
    assert mirror.page("afterwards").status_code in {502, 503}
    assert place.up()["state"] == "running"
    assert mirror.page("afterwards").status_code == 200
