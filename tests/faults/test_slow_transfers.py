"""Hundreds of slow downloads at once: each is answered, by one thread for all clients."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time

import aiohttp
import psutil

from tests.faults.faulty_upstream import FaultyFile, FaultyProject, FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome

CLIENTS = 400
SIZE = 80_000  # bytes of each file; an eighth of it each second
MAX_THREADS = 40
MAX_MEMORY = 150 * 1024**2  # bytes


async def download_all(urls: list[str]) -> list[tuple[int, str]]:
    """Return the status and the SHA-256 of each download."""

    async def download(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
        async with session.get(url) as response:
            return response.status, hashlib.sha256(await response.read()).hexdigest()

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return await asyncio.gather(*(download(session, url) for url in urls))


def test_hundreds_of_slow_downloads_at_once(
    mirror: MirrorClient, home: MirrorHome, healthy_upstream: FaultyUpstream
) -> None:
    content = {
        f"lib{n}-1.0-py3-none-any.whl": random.Random(n).randbytes(SIZE) for n in range(CLIENTS)
    }
    files = {name: FaultyFile(content=data, delay=1.0) for name, data in content.items()}
    healthy_upstream.projects["slowly"] = FaultyProject(files=files)
    page = mirror.get_page("slowly")
    urls = [str(page.url.join(file["url"])) for file in page.json()["files"]]
    cache = psutil.Process(int(home.processes["public"]["pid"]))
    start = time.monotonic()
    results = asyncio.run(download_all(urls))
    seconds = time.monotonic() - start
    assert [status for status, _ in results] == [200] * CLIENTS
    assert {digest for _, digest in results} == {file.sha256 for file in files.values()}
    assert set(healthy_upstream.count_downloads().values()) == {1}
    threads, memory = cache.num_threads(), cache.memory_info().rss
    assert threads < MAX_THREADS
    assert memory < MAX_MEMORY
    print(f"{CLIENTS} at 10 kB/s: {seconds:.0f} s, {threads} threads, {memory / 1e6:.0f} MB")


def test_a_client_that_leaves_does_not_end_the_download(
    mirror: MirrorClient, healthy_upstream: FaultyUpstream
) -> None:
    file = healthy_upstream.add_wheel("left-alone", 100_000)
    file.delay = 0.2
    url = mirror.root + mirror.find_file_path("left-alone")

    async def leave() -> None:
        async with aiohttp.ClientSession() as session:
            request = asyncio.create_task(session.get(url))
            await asyncio.sleep(0.3)
            request.cancel()
            await asyncio.wait({request})

    asyncio.run(leave())
    end = time.monotonic() + 60
    while not mirror.list_cached_files("left-alone") and time.monotonic() < end:
        time.sleep(0.2)
    assert mirror.get(mirror.find_file_path("left-alone")).content == file.content
    assert list(healthy_upstream.count_downloads().values()) == [1]
