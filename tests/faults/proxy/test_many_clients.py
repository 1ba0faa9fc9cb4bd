"""Rows 9, 11 and 41: many clients, huge pages, and clients that would shape others' pages."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.faults.faulty_upstream import SIMPLE_JSON, FaultyFile, FaultyProject, FaultyUpstream
from tests.faults.mirror_client import MirrorClient, measure_seconds, run_concurrently
from tests.local.mirror_home import MirrorHome

CLIENTS = 50
POD_LIMIT = 512 * 1024**2  # bytes: of the container `public`


@pytest.mark.parametrize(("kind", "delay"), [("at-once", 0.0), ("slow", 0.8)])
def test_one_download_for_all_who_ask(
    mirror: MirrorClient, upstream: FaultyUpstream, kind: str, delay: float
) -> None:
    """The slow one takes longer than a client would wait: it gets what is there as it comes."""
    project, content = f"wanted-{kind}", bytes(range(256)) * 8192
    name = f"wanted_{kind.replace('-', '_')}-1.0-py3-none-any.whl"
    upstream.projects[project] = FaultyProject(
        files={name: FaultyFile(content=content, delay=delay)}
    )
    path = mirror.find_file_path(project)
    took, answers = measure_seconds(lambda: run_concurrently(lambda _: mirror.get(path), CLIENTS))
    assert [one.status_code for one in answers] == [200] * CLIENTS
    assert {hashlib.sha256(one.content).hexdigest() for one in answers} == {
        hashlib.sha256(content).hexdigest()
    }
    assert upstream.request_counts[f"/files/{project}/{name}"] == 1
    assert mirror.list_cached_files(project) == [name]
    print(f"{kind}: {CLIENTS} of {CLIENTS} right in {took:.1f} s, one download")


def test_one_request_a_url_whoever_asks(mirror: MirrorClient, upstream: FaultyUpstream) -> None:
    """50 user agents, both forms, and the headers by which devpi lets clients shape pages."""
    upstream.add_project("crowded")
    headers = [
        {
            "User-Agent": f"pip/{n}.0" if n % 2 else f"uv/0.{n}",
            "Accept": SIMPLE_JSON if n % 3 else "text/html",
            "X-Outside-URL": "http://evil.example",
            "X-Devpi-Absolute-Urls": "1",
            "X-Forwarded-Host": "evil.example",
            "Host": f"evil-{n}.example",
            "Cookie": f"session={n}",
        }
        for n in range(CLIENTS)
    ]
    answers = run_concurrently(lambda n: mirror.get_page("crowded", headers[n]), CLIENTS)
    assert [one.status_code for one in answers] == [200] * CLIENTS
    assert upstream.request_counts["/simple/crowded/"] == 1
    bodies = {(one.headers["content-type"].partition(";")[0], one.text) for one in answers}
    assert {kind for kind, _ in bodies} == {SIMPLE_JSON, "text/html"}
    assert len(bodies) == 2, "one page a form, the same for all"
    assert not any("evil" in text for _, text in bodies)


def test_a_file_is_found_as_pip_writes_it(mirror: MirrorClient, upstream: FaultyUpstream) -> None:
    """A plus sign as %2B, in the path and in the name."""
    name = "local_1-1.0+cpu-py3-none-any.whl"
    upstream.projects["local-1"] = FaultyProject(files={name: FaultyFile(content=b"cpu")})
    path = mirror.find_file_path("local-1")
    cold = mirror.get(path.replace("+", "%2B"))
    assert cold.status_code == 200, "asked of the upstream"
    for asked in (path.replace("+", "%2B"), path.replace("%2B", "+"), path):
        assert mirror.get(asked).content == b"cpu"


@pytest.mark.parametrize("name", ["Crowded_Too", "crowded.too", "CROWDED--TOO"])
def test_any_spelling_is_the_one_project(
    mirror: MirrorClient, upstream: FaultyUpstream, name: str
) -> None:
    upstream.add_project("crowded-too")
    answer = mirror.get_page(name)
    assert answer.status_code == 301
    assert answer.headers["location"].endswith("../crowded-too/")


def test_a_page_of_ten_thousand_files(
    mirror: MirrorClient, place: MirrorHome, upstream: FaultyUpstream
) -> None:
    files = {f"huge-{n}.0-py3-none-any.whl": FaultyFile(content=b"x%d" % n) for n in range(10_000)}
    upstream.projects["huge"] = FaultyProject(files=files)
    took, answers = measure_seconds(
        lambda: run_concurrently(lambda n: mirror.get_page("huge", _form(n)), 16)
    )
    assert [one.status_code for one in answers] == [200] * 16
    assert len(answers[0].json()["files"]) == 10_000
    assert answers[1].text.count("<a ") == 10_000
    assert mirror.get(mirror.find_file_path("huge", 9_999)).content == b"x9999"
    peak = _peak(int(place.processes["public"]["pid"]))
    assert peak < POD_LIMIT / 2
    of = f"{peak / 1e6:.0f} of {POD_LIMIT / 1e6:.0f} MB"
    print(f"10,000 files: {took:.1f} s for 16 clients, peak {of}")


def test_core_metadata_is_announced_where_it_is_and_kept(
    mirror: MirrorClient, upstream: FaultyUpstream
) -> None:
    upstream.projects["described"] = FaultyProject(
        files={
            "described-1.0-py3-none-any.whl": FaultyFile(
                content=b"one", metadata=b"Name: described\n"
            ),
            "described-2.0-py3-none-any.whl": FaultyFile(content=b"two"),
        }
    )
    told, plain = mirror.get_page("described").json()["files"]
    assert told["core-metadata"] == {"sha256": hashlib.sha256(b"Name: described\n").hexdigest()}
    assert not plain.get("core-metadata")
    html = mirror.get_page("described", {"Accept": "text/html"}).text
    assert len(re.findall("data-core-metadata=", html)) == 1
    paths = [mirror.find_file_path("described", n) + ".metadata" for n in (0, 1)]
    assert mirror.get(paths[0]).content == b"Name: described\n"
    assert mirror.get(paths[1]).status_code == 404
    with upstream.inject_fault("refused"):
        assert mirror.get(paths[0]).content == b"Name: described\n"
    assert upstream.request_counts["/files/described/described-1.0-py3-none-any.whl.metadata"] == 1


def _form(n: int) -> dict[str, str]:
    return {"Accept": "text/html"} if n % 2 else {}


def _peak(pid: int) -> int:
    """Bytes that the process held at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024
