"""Several upstreams behind one index: no name ever has packages of two of them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mirror.cache.addresses import ForbiddenAddressError
from mirror.cache.scrubber import Scrubber
from mirror.cache.upstream import UpstreamClient
from mirror.settings import SIMPLE_JSON
from mirror.store.inventory import iter_stored_files, list_cached_projects
from mirror.store.verify import verify_files
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream


class TwoUpstreams:
    """A cache with the upstreams ``default`` and ``cpu``, in this order; ``cpu`` is HTML only."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.default, self.cpu = FaultyUpstream(), FaultyUpstream()
        self.cpu.is_html_only = True
        self._running = ExitStack()
        self.cache: CacheClient

    def start(self, **pins: str) -> None:
        """Start the cache, anew if it runs."""
        self._running.close()
        urls = {"default": self.default.url, "cpu": self.cpu.url}
        cache = run_cache(self.data / "public", urls, Scrubber(self.data), pins=pins)
        self.cache = self._running.enter_context(cache)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.cache.url + path, headers=headers, trust_env=False, timeout=60)

    def list_files(self, project: str, index: str = "workloads/stable") -> dict[str, str]:
        """Return the filenames and paths on the page of a project."""
        response = self.get(f"/{index}/+simple/{project}/", Accept=SIMPLE_JSON)
        page = json.loads(self.cache.read_body(response))
        return {file["filename"]: "/" + file["url"].lstrip("./") for file in page["files"]}

    def read(self, path: str) -> bytes:
        return self.cache.read_body(self.get(path))

    def list_published(self) -> set[str]:
        """Return the pages that nginx serves without asking."""
        return {path.name for path in (self.data / "public/fresh").glob("*.json")}

    def expire(self) -> None:
        """Forget all pages."""
        for folder in (self.data / "public", self.data / "public/upstreams/cpu"):
            for name in ("links", "pages"):
                for path in (folder / name).iterdir():
                    path.unlink()
        shutil.rmtree(self.data / "public/fresh")
        (self.data / "public/fresh").mkdir()

    def close(self) -> None:
        self._running.close()
        for upstream in (self.default, self.cpu):
            upstream.stop()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoUpstreams]:
    two = TwoUpstreams(tmp_path / "data")
    two.start()
    yield two
    two.close()


def test_the_first_upstream_that_has_a_project_wins(two: TwoUpstreams) -> None:
    two.default.add_package("lib", "1.0")
    two.cpu.add_package("lib", "99.0")
    two.cpu.add_package("tensor", "2.4.0+cpu")
    assert list(two.list_files("lib")) == ["lib-1.0-py3-none-any.whl"]
    assert two.cpu.request_counts["/simple/lib/"] == 0, "the second one is not asked"
    assert list(two.list_files("tensor")) == ["tensor-2.4.0+cpu-py3-none-any.whl"]
    assert two.get("/workloads/stable/+simple/nobody/").status_code == 404


def test_files_of_another_upstream_are_below_its_name(two: TwoUpstreams) -> None:
    file = two.cpu.add_package("tensor", "2.4.0+cpu")
    (link,) = two.list_files("tensor").values()
    assert link.startswith("/+upstream/cpu/+f/tensor/")
    assert two.read(link) == file.content
    two.cpu.is_html_only = False
    other = two.cpu.add_package("other")
    (link,) = two.list_files("other").values()
    assert link == f"/+upstream/cpu/packages/{other.path}"
    assert two.read(link) == other.content
    assert {project.name: project.files for project in list_cached_projects(two.cache.root)} == {
        "other": 1,
        "tensor": 1,
    }


def test_a_file_is_never_taken_from_another_upstream(two: TwoUpstreams) -> None:
    file = two.cpu.add_package("tensor")
    two.list_files("tensor")
    (link,) = two.list_files("tensor").values()
    asked = dict(two.default.request_counts)
    assert two.get(link.replace("/+upstream/cpu/", "/root/pypi/")).status_code == 404
    assert two.get(link.replace("/cpu/", "/default/")).status_code == 404
    assert two.get(f"/packages/{file.path}").status_code == 404
    assert two.get(link.replace("/cpu/", "/nobody/")).status_code == 404
    new = set(two.default.request_counts) - set(asked)
    assert all(path.startswith("/simple/") for path in new), "no file is asked for"


@pytest.mark.parametrize("fault", ["500", "refused", "403", "portal", "garbage"])
def test_a_failing_first_upstream_is_an_error_never_the_second(
    two: TwoUpstreams, fault: str
) -> None:
    two.default.add_package("lib")
    two.cpu.add_package("lib", "99.0")
    with two.default.inject_fault(fault):
        assert two.get("/workloads/stable/+simple/lib/").status_code in {502, 503}
        assert two.get("/root/pypi/+simple/lib/").status_code in {502, 503}
    assert two.cpu.request_counts["/simple/lib/"] == 0
    assert two.list_published() == set()


def test_a_short_404_of_the_first_does_not_give_the_name_to_the_second(two: TwoUpstreams) -> None:
    two.default.add_package("lib")
    two.cpu.add_package("lib", "99.0")
    before = two.list_files("lib")
    del two.default.projects["lib"]
    os.utime(two.data / "public/links/lib", (0, 0))
    two.start()
    assert two.list_files("lib") == before
    assert two.cpu.request_counts["/simple/lib/"] == 0


def test_the_last_word_of_an_upstream_holds_while_it_is_away(two: TwoUpstreams) -> None:
    """It said that it does not have the project; so the second one goes on to serve it."""
    two.cpu.add_package("tensor")
    before = two.list_files("tensor")
    with two.default.inject_fault("500"):
        two.get("/workloads/stable/+simple/unknown/")
        assert two.list_files("tensor") == before
        two.start()
        assert two.get("/workloads/stable/+simple/tensor/").status_code == 503, "it is forgotten"


def test_the_first_upstream_takes_a_name_as_soon_as_it_has_it(two: TwoUpstreams) -> None:
    two.cpu.add_package("lib", "99.0")
    assert list(two.list_files("lib")) == ["lib-99.0-py3-none-any.whl"]
    two.default.add_package("lib", "1.0")
    two.start()
    assert list(two.list_files("lib")) == ["lib-1.0-py3-none-any.whl"]


def test_a_pinned_project_comes_from_its_upstream_only(two: TwoUpstreams) -> None:
    two.start(lib="cpu", gone="cpu")
    two.default.add_package("lib", "1.0")
    two.default.add_package("gone", "1.0")
    two.cpu.add_package("lib", "99.0")
    for index in ("workloads/stable", "root/pypi", "+upstream/cpu"):
        assert list(two.list_files("lib", index)) == ["lib-99.0-py3-none-any.whl"]
    for index in ("workloads/stable", "root/pypi", "+upstream/cpu", "+upstream/default"):
        assert two.get(f"/{index}/+simple/gone/").status_code == 404
    refused = two.get("/+upstream/default/+simple/lib/")
    assert (refused.status_code, refused.text) == (404, "lib is pinned to the upstream cpu")
    with two.cpu.inject_fault("500"):
        two.expire()
        assert two.get("/workloads/stable/+simple/lib/").status_code == 503
    assert not [path for path in two.default.request_counts if "lib" in path or "gone" in path]


def test_a_page_of_one_upstream_is_for_those_who_ask_for_it(two: TwoUpstreams) -> None:
    """As for a lock that names an index for a package. Nobody else gets that page."""
    two.default.add_package("lib", "1.0")
    file = two.cpu.add_package("lib", "99.0")
    (link,) = two.list_files("lib", "+upstream/cpu").values()
    assert two.read(link) == file.content
    assert two.list_published() == set()
    assert list(two.list_files("lib")) == ["lib-1.0-py3-none-any.whl"]
    assert two.list_published() == {"lib.json"}
    assert list(two.list_files("lib", "+upstream/default")) == ["lib-1.0-py3-none-any.whl"]
    for _ in range(2):
        assert list(two.list_files("lib", "+upstream/cpu")) == ["lib-99.0-py3-none-any.whl"]
    published = json.loads((two.data / "public/fresh/lib.json").read_bytes())
    assert [file["filename"] for file in published["files"]] == ["lib-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "path",
    [
        "/+upstream/%2e%2e",
        "/+upstream/%2e%2e/+simple/lib/",
        "/+upstream/cpu/+simple/%2e%2e%2f%2e%2e%2fx/",
        "/+upstream/%2e%2e%2fcpu/+f/lib/x/lib-1.0.tar.gz",
    ],
)
def test_no_path_leads_out_of_an_upstream(two: TwoUpstreams, path: str) -> None:
    assert two.get(path).status_code == 404


def test_an_upstream_does_not_share_its_addresses(two: TwoUpstreams) -> None:
    """``cpu`` is on this machine; links of an upstream elsewhere must not lead here."""
    two.cpu.add_package("lib")

    async def follow() -> None:
        here, elsewhere = UpstreamClient(two.cpu.url), UpstreamClient("https://192.0.2.7/simple/")
        await here.fetch_page("lib", "")
        try:
            with pytest.raises(ForbiddenAddressError):
                async with elsewhere.stream_file(f"{two.cpu.url}lib/"):
                    pass
        finally:
            await here.close()
            await elsewhere.close()

    asyncio.run(follow())
    assert two.cpu.request_counts["/simple/lib/"] == 1


def test_verify_knows_the_files_of_all_upstreams(two: TwoUpstreams) -> None:
    content = two.cpu.add_package("tensor").content
    (link,) = two.list_files("tensor").values()
    two.read(link)
    assert verify_files(two.data).flaws == ()
    (stored,) = (file for file in iter_stored_files(two.data) if file.kind == "file")
    assert stored.url == link
    stored.path.write_bytes(content[:-1] + b"?")
    (flaw,) = verify_files(two.data, repair=True, root=two.cache.url).flaws
    assert flaw.file == stored.path.relative_to(two.data).as_posix()
    two.read(link)
    assert stored.path.read_bytes() == content


def test_the_status_and_metrics_name_each_upstream(two: TwoUpstreams) -> None:
    two.cpu.add_package("tensor")
    two.list_files("tensor")
    with two.default.inject_fault("500"):
        two.get("/workloads/stable/+simple/x/")
    status = two.cache.read_status()
    assert [(u["name"], u["state"]) for u in status["upstreams"]] == [
        ("default", "away"),
        ("cpu", "ok"),
    ]
    assert status["upstream"]["url"] == two.default.url
    metrics = two.get("/metrics").text
    assert 'pypi_mirror_upstream_up{upstream="default"} 0.0' in metrics
    assert 'pypi_mirror_upstream_up{upstream="cpu"} 1.0' in metrics
