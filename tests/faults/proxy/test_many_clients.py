"""Many clients at once, huge pages, and headers that must not change other clients' pages."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from mirror.settings import SIMPLE_JSON
from tests.faults.faulty_upstream import FaultyFile, FaultyProject, FaultyUpstream
from tests.faults.mirror_client import MirrorClient, measure_seconds, run_concurrently
from tests.local.mirror_home import MirrorHome

CLIENTS = 50
MEMORY_LIMIT = 512 * 1024**2  # bytes, of the container `public`


@pytest.mark.parametrize(("kind", "delay"), [("at-once", 0.0), ("slow", 0.8)])
def test_all_clients_share_one_download(
    mirror: MirrorClient, upstream: FaultyUpstream, kind: str, delay: float
) -> None:
    """The slow download takes longer than clients wait for a whole file; they get a stream."""
    project, content = f"shared-{kind}", bytes(range(256)) * 8192
    name = f"shared_{kind.replace('-', '_')}-1.0-py3-none-any.whl"
    upstream.projects[project] = FaultyProject(
        files={name: FaultyFile(content=content, delay=delay)}
    )
    path = mirror.find_file_path(project)
    seconds, responses = measure_seconds(
        lambda: run_concurrently(lambda _: mirror.get(path), CLIENTS)
    )
    assert [response.status_code for response in responses] == [200] * CLIENTS
    assert {hashlib.sha256(response.content).hexdigest() for response in responses} == {
        hashlib.sha256(content).hexdigest()
    }
    assert upstream.request_counts[f"/files/{project}/{name}"] == 1
    assert mirror.list_cached_files(project) == [name]
    print(f"{kind}: {CLIENTS} of {CLIENTS} right in {seconds:.1f} s, one download")


def test_request_headers_do_not_cause_more_requests(
    mirror: MirrorClient, upstream: FaultyUpstream
) -> None:
    """50 user agents, both forms, and headers with which clients can change pages of devpi."""
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
    responses = run_concurrently(lambda n: mirror.get_page("crowded", headers[n]), CLIENTS)
    assert [response.status_code for response in responses] == [200] * CLIENTS
    assert upstream.request_counts["/simple/crowded/"] == 1
    bodies = {
        (response.headers["content-type"].partition(";")[0], response.text)
        for response in responses
    }
    assert {kind for kind, _ in bodies} == {SIMPLE_JSON, "text/html"}
    assert len(bodies) == 2, "one page per form, the same for all clients"
    assert not any("evil" in text for _, text in bodies)


def test_accepts_a_quoted_plus_sign_in_file_urls(
    mirror: MirrorClient, upstream: FaultyUpstream
) -> None:
    """pip quotes it as %2B, in the path and in the filename."""
    name = "local_1-1.0+cpu-py3-none-any.whl"
    upstream.projects["local-1"] = FaultyProject(files={name: FaultyFile(content=b"cpu")})
    path = mirror.find_file_path("local-1")
    cold = mirror.get(path.replace("+", "%2B"))
    assert cold.status_code == 200, "fetched from the upstream"
    for spelling in (path.replace("+", "%2B"), path.replace("%2B", "+"), path):
        assert mirror.get(spelling).content == b"cpu"


@pytest.mark.parametrize("name", ["Crowded_Too", "crowded.too", "CROWDED--TOO"])
def test_redirects_other_spellings_of_a_name(
    mirror: MirrorClient, upstream: FaultyUpstream, name: str
) -> None:
    upstream.add_project("crowded-too")
    response = mirror.get_page(name)
    assert response.status_code == 301
    assert response.headers["location"].endswith("../crowded-too/")


def test_serves_a_page_of_ten_thousand_files(
    mirror: MirrorClient, home: MirrorHome, upstream: FaultyUpstream
) -> None:
    files = {f"huge-{n}.0-py3-none-any.whl": FaultyFile(content=b"x%d" % n) for n in range(10_000)}
    upstream.projects["huge"] = FaultyProject(files=files)
    seconds, responses = measure_seconds(
        lambda: run_concurrently(lambda n: mirror.get_page("huge", _accept_header(n)), 16)
    )
    assert [response.status_code for response in responses] == [200] * 16
    assert len(responses[0].json()["files"]) == 10_000
    assert responses[1].text.count("<a ") == 10_000
    assert mirror.get(mirror.find_file_path("huge", 9_999)).content == b"x9999"
    peak = _read_peak_memory(int(home.processes["public"]["pid"]))
    assert peak < MEMORY_LIMIT / 2
    memory = f"{peak / 1e6:.0f} of {MEMORY_LIMIT / 1e6:.0f} MB"
    print(f"10,000 files: {seconds:.1f} s for 16 clients, peak {memory}")


def test_serves_and_stores_core_metadata(mirror: MirrorClient, upstream: FaultyUpstream) -> None:
    upstream.projects["described"] = FaultyProject(
        files={
            "described-1.0-py3-none-any.whl": FaultyFile(
                content=b"one", metadata=b"Name: described\n"
            ),
            "described-2.0-py3-none-any.whl": FaultyFile(content=b"two"),
        }
    )
    described, plain = mirror.get_page("described").json()["files"]
    assert described["core-metadata"] == {
        "sha256": hashlib.sha256(b"Name: described\n").hexdigest()
    }
    assert not plain.get("core-metadata")
    html = mirror.get_page("described", {"Accept": "text/html"}).text
    assert len(re.findall("data-core-metadata=", html)) == 1
    paths = [mirror.find_file_path("described", n) + ".metadata" for n in (0, 1)]
    assert mirror.get(paths[0]).content == b"Name: described\n"
    assert mirror.get(paths[1]).status_code == 404
    with upstream.inject_fault("refused"):
        assert mirror.get(paths[0]).content == b"Name: described\n"
    assert upstream.request_counts["/files/described/described-1.0-py3-none-any.whl.metadata"] == 1


def _accept_header(n: int) -> dict[str, str]:
    return {"Accept": "text/html"} if n % 2 else {}


def _read_peak_memory(pid: int) -> int:
    """Return the largest resident size of a process so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024
