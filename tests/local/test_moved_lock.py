"""uv installs from a moved lock through nginx and the cache, without a page of any project."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mirror.cache.scrubber import Scrubber
from mirror.lock_urls import IndexAddresses, move_from_mirror, move_to_mirror
from tests.faults.cache_process import run_cache
from tests.faults.faulty_upstream import FaultyUpstream
from tests.local.nginx_stand import NginxStand, run_nginx

METADATA = b"Metadata-Version: 2.1\nName: locked-lib\nVersion: 1.0\n"


@pytest.fixture
def index() -> Iterator[FaultyUpstream]:
    index = FaultyUpstream()
    yield index
    index.stop()


@pytest.fixture
def proxy(tmp_path: Path, index: FaultyUpstream) -> Iterator[NginxStand]:
    data = tmp_path / "data"
    with (
        run_cache(data / "public", index.url, Scrubber(data)) as cache,
        run_nginx(data, tmp_path / "scratch", cache.port) as stand,
    ):
        yield stand


def run_uv(folder: Path, *arguments: str, **environment: str) -> None:
    env = {**os.environ, "UV_NO_CACHE": "1", "UV_PYTHON_DOWNLOADS": "never", **environment}
    done = subprocess.run(
        ("uv", *arguments), cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml"])
def test_installs_from_the_mirror_alone(
    proxy: NginxStand, index: FaultyUpstream, tmp_path: Path, name: str
) -> None:
    index.add_package("locked-lib", metadata=METADATA)
    app = tmp_path / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["locked-lib"]\n'
    )
    run_uv(app, "lock", UV_DEFAULT_INDEX=index.url)
    if name == "pylock.toml":
        run_uv(app, "export", "-q", "--frozen", "-o", name, UV_DEFAULT_INDEX=index.url)
    original = (app / name).read_bytes()
    upstream = IndexAddresses(index.url, index.url.replace("/simple/", "/packages/"))
    mirror = IndexAddresses(f"{proxy.url}/workloads/stable/+simple/", f"{proxy.url}/packages/")
    moved = move_to_mirror(original, upstream, mirror)
    assert moved.files == 1
    assert f":{index.port}/".encode() not in moved.content
    (app / name).write_bytes(moved.content)
    if name == "uv.lock":
        run_uv(app, "sync", "--frozen")
        run_uv(app, "run", "--frozen", "python", "-c", "import locked_lib")
    else:
        run_uv(app, "venv", "-q")
        run_uv(app, "pip", "install", "-r", name)
    assert list((app / ".venv").glob("lib/*/site-packages/locked_lib.py"))
    assert move_from_mirror(moved.content, upstream, mirror).content == original


def test_files_of_nginx_and_of_the_cache_are_the_same(
    proxy: NginxStand, index: FaultyUpstream
) -> None:
    """Cold, warm, HEAD, a range, and a quoted plus sign."""
    file = index.add_package("lib", "1.0+cpu")
    path = f"/packages/{file.path}"
    cold = proxy.get(path.replace("+", "%2B"))
    assert (cold.status_code, cold.content) == (200, file.content)
    warm = proxy.get(path)
    assert warm.content == file.content
    assert "immutable" in warm.headers["cache-control"]
    part = proxy.get(path, Range="bytes=0-9")
    assert (part.status_code, part.content) == (206, file.content[:10])
    head = httpx.head(proxy.url + path, trust_env=False)
    assert head.headers["content-length"] == str(len(file.content))
    assert list(index.count_downloads().values()) == [1]
    assert proxy.get(f"/packages/ab/cd/{'0' * 60}/nobody-1.0.tar.gz").status_code == 404
