"""The cache by itself, asked as nginx asks it, with an upstream on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import threading
import time

import aiohttp
import httpx
import pytest

from mirror.settings import SIMPLE_JSON
from mirror.store.inventory import iter_stored_files
from mirror.store.verify import verify_files
from tests.faults.cache_process import CacheClient
from tests.faults.faulty_upstream import FaultyFile, FaultyProject, FaultyUpstream

CLIENTS = 400


def get(cache: CacheClient, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    return httpx.request(method, cache.url + path, headers=headers, trust_env=False, timeout=60)


def get_links(cache: CacheClient, project: str) -> list[str]:
    """Return the paths of the files of a project's page."""
    page = get(cache, f"/workloads/stable/+simple/{project}/", Accept=SIMPLE_JSON)
    body = cache.read_body(page)
    return ["/" + file["url"].lstrip("./") for file in json.loads(body)["files"]]


def read(cache: CacheClient, path: str) -> bytes:
    return cache.read_body(get(cache, path))


def list_stored(cache: CacheClient) -> list[str]:
    """Return the names of all stored distributions."""
    folders = (cache.root / "files", cache.root / "packages")
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


def test_reversible_links_are_those_of_the_upstream(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    file = index.add_package("lib", metadata=b"Name: lib\n")
    (link,) = get_links(cache, "lib")
    assert link == f"/packages/{file.path}"
    assert read(cache, link) == file.content
    assert read(cache, f"{link}.metadata") == b"Name: lib\n"
    assert (cache.root / "packages" / file.path).read_bytes() == file.content
    assert set(index.count_downloads().values()) == {1}


def test_verify_knows_files_by_their_path(cache: CacheClient, index: FaultyUpstream) -> None:
    file = index.add_package("lib", metadata=b"Name: lib\n")
    (link,) = get_links(cache, "lib")
    read(cache, link)
    read(cache, f"{link}.metadata")
    data = cache.root.parent
    report = verify_files(data)
    assert (report.unknown, report.flaws) == (0, ())
    stored = cache.root / "packages" / file.path
    (entry,) = (entry for entry in iter_stored_files(data) if entry.path == stored)
    assert entry.url == link
    for path in (stored, stored.with_name(stored.name + ".metadata")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"?")
        (flaw,) = verify_files(data, repair=True, root=cache.url).flaws
        assert flaw.file == path.relative_to(data).as_posix()
        assert not path.exists() or path.read_bytes() == content
    stored.unlink(missing_ok=True)


def test_a_path_is_enough_to_verify_a_file(cache: CacheClient, index: FaultyUpstream) -> None:
    """As from a lock; the page of another project has told where files are."""
    index.add_package("known")
    get_links(cache, "known")
    file = index.add_package("lib", metadata=b"Name: lib\n")
    assert read(cache, f"/packages/{file.path}") == file.content
    assert index.request_counts["/simple/lib/"] == 0
    assert read(cache, f"/packages/{file.path}.metadata") == b"Name: lib\n"
    wrong = index.add_package("wrong")
    right, wrong.content = wrong.content, wrong.content[:-1] + b"?"
    assert get(cache, f"/packages/{wrong.path}").status_code == 502
    wrong.content = right
    assert read(cache, f"/packages/{wrong.path}") == right


def test_the_first_request_of_all_may_be_for_a_path(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    file = index.add_package("lib")
    assert read(cache, f"/packages/{file.path}") == file.content
    assert index.request_counts["/simple/lib/"] == 1
    assert get(cache, f"/packages/ab/cd/{'0' * 60}/nobody-1.0.tar.gz").status_code == 404


def test_links_and_files_of_version_0_1_0_keep_working(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    file, newer = index.add_package("older"), index.add_package("newer")
    name = file.path.rpartition("/")[2]
    stored = cache.root / "files/older" / file.sha256 / name
    stored.parent.mkdir(parents=True)
    stored.write_bytes(file.content)
    assert read(cache, f"/root/pypi/+f/older/{file.sha256}/{name}") == file.content
    get_links(cache, "older")
    assert read(cache, f"/packages/{file.path}") == file.content
    assert index.count_downloads() == {}, "the stored file is taken over"
    assert stored.samefile(cache.root / "packages" / file.path)
    link = f"/root/pypi/+f/newer/{newer.sha256}/{newer.path.rpartition('/')[2]}"
    assert read(cache, link) == newer.content
    assert get(cache, link.replace(newer.sha256, "0" * 64)).status_code == 404
    assert get(cache, link.replace("newer/", "nobody/")).status_code == 404


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512"])
def test_every_known_hash_is_checked(
    cache: CacheClient, index: FaultyUpstream, algorithm: str
) -> None:
    content = b"right " * 500
    index.add_project("lib", hashes={algorithm: hashlib.new(algorithm, content).hexdigest()})
    file = index.projects["lib"].files["lib-1.0-py3-none-any.whl"]
    (link,) = get_links(cache, "lib")
    for wrong in (content[:100], b"<html>log in</html>"):
        file.content, file.length = wrong, 0
        assert get(cache, link).status_code == 502
        assert list_stored(cache) == []
    file.content = content
    assert read(cache, link) == content


def test_a_page_may_contradict_the_path(cache: CacheClient, index: FaultyUpstream) -> None:
    """Both hashes count."""
    file = index.add_package("lib")
    file.sha256 = "0" * 64
    (link,) = get_links(cache, "lib")
    assert get(cache, link).status_code == 502
    assert list_stored(cache) == []


def test_what_has_neither_hash_nor_length_is_not_stored(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    index.add_project("lib", hashes={}, length=0)
    (link,) = get_links(cache, "lib")
    assert get(cache, link).status_code == 502
    assert list_stored(cache) == []


def test_a_failing_file_does_not_stop_pages(cache: CacheClient, index: FaultyUpstream) -> None:
    index.add_project("bad")
    index.add_project("good")
    (link,) = get_links(cache, "bad")
    with index.inject_fault("500"):
        assert get(cache, link).status_code == 503
    assert cache.read_status()["upstream"]["state"] == "ok"
    assert len(get_links(cache, "good")) == 1


def test_head_has_the_length_before_the_file_is_there(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    index.add_wheel("lib", 100_000)
    (file,) = index.projects["lib"].files.values()
    file.delay = 0.3
    (link,) = get_links(cache, "lib")
    response = get(cache, link, "HEAD")
    assert response.status_code == 200
    assert response.headers["content-length"] == str(len(file.content))
    assert "accept-ranges" not in response.headers
    assert read(cache, link) == file.content
    assert list(index.count_downloads().values()) == [1]
    assert get(cache, link, "HEAD").headers["x-accel-redirect"].startswith("/+held/files/lib/")


def test_counts_only_other_requests(cache: CacheClient, index: FaultyUpstream) -> None:
    index.add_package("lib")
    read(cache, get_links(cache, "lib")[0])
    asked = [cache.read_status()["asked"] for _ in range(2)]
    assert asked == [{"pages": 1, "files": 1, "status": n} for n in (1, 2)]


async def _download_all(urls: list[str]) -> list[tuple[int, str]]:
    """Return the status and the SHA-256 of each download."""

    async def download(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
        async with session.get(url) as response:
            if "X-Accel-Redirect" in response.headers:
                return response.status, "stored"
            return response.status, hashlib.sha256(await response.read()).hexdigest()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(download(session, url) for url in urls))


@pytest.mark.timeout(240)
def test_hundreds_of_slow_downloads_at_once(cache: CacheClient, index: FaultyUpstream) -> None:
    """None fails, and no thread waits for a client."""
    files = {
        f"lib-{n}.0-py3-none-any.whl": FaultyFile(
            content=random.Random(n).randbytes(80_000), delay=0.6
        )
        for n in range(CLIENTS)
    }
    index.projects["lib"] = FaultyProject(files=files)
    urls = [cache.url + link for link in get_links(cache, "lib")]
    before = {thread.name for thread in threading.enumerate()}
    results = asyncio.run(_download_all(urls))
    started = [t for t in threading.enumerate() if t.name not in before and "Thread-" not in t.name]
    assert [status for status, _ in results] == [200] * CLIENTS
    digests = {digest for _, digest in results} - {"stored"}
    assert digests <= {file.sha256 for file in files.values()}
    assert digests, "at least one was sent while it arrived"
    assert len(list_stored(cache)) == CLIENTS
    assert set(index.count_downloads().values()) == {1}
    assert len(started) <= 16, started


def test_a_download_goes_on_when_its_client_leaves(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    file = index.add_wheel("lib", 100_000)
    file.delay = 0.1
    url = cache.url + get_links(cache, "lib")[0]

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            request = asyncio.create_task(session.get(url))
            await asyncio.sleep(0.3)
            request.cancel()
            await asyncio.wait({request})

    asyncio.run(leave())
    end = time.monotonic() + 60
    while not list_stored(cache) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(list_stored(cache)) == 1
    assert list(index.count_downloads().values()) == [1]


def test_a_removed_cache_folder_comes_back(cache: CacheClient, index: FaultyUpstream) -> None:
    file = index.add_package("lib")
    (link,) = get_links(cache, "lib")
    shutil.rmtree(cache.root)
    assert read(cache, link) == file.content
    assert get_links(cache, "lib") == [link]
    assert cache.read_status()["files"] == 1
