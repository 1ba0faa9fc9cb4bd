"""Reversible links through nginx; tests/unit/mirror/cache/test_server.py has the cache alone."""

from __future__ import annotations

import json
import os
import subprocess
import time
import tomllib
from pathlib import Path

import httpx
import pytest

from tests.faults.faulty_upstream import FaultyFile, FaultyUpstream
from tests.faults.mirror_client import MirrorClient, run_concurrently
from tests.local.mirror_home import MirrorHome

METADATA = b"Metadata-Version: 2.1\nName: locked-lib\nVersion: 1.0\n"


def test_links_are_those_of_the_upstream(
    mirror: MirrorClient, home: MirrorHome, healthy_upstream: FaultyUpstream
) -> None:
    file = healthy_upstream.add_package("reversible", metadata=b"Name: reversible\n")
    page = mirror.get_page("reversible").json()
    assert page["files"][0]["url"] == f"../../../../packages/{file.path}"
    assert (
        f'href="../../../../packages/{file.path}'
        in mirror.get_page("reversible", {"Accept": "text/html"}).text
    )
    path = f"/packages/{file.path}"
    digests = run_concurrently(lambda _: mirror.download_sha256(path), 12)
    assert set(digests) == {file.sha256}
    assert mirror.get(f"{path}.metadata").content == b"Name: reversible\n"
    stored = mirror.cache_dir / "packages" / file.path
    assert stored.read_bytes() == file.content
    assert set(healthy_upstream.count_downloads().values()) == {1}
    response = mirror.get(path, {"Range": "bytes=0-9"})
    assert (response.status_code, response.content) == (206, file.content[:10])
    stored.write_bytes(b"rot" + file.content[3:])
    code, report = home.run_json("verify", "--repair")
    assert code == 0, report
    assert report["flaws"][0]["outcome"] == "fetched again"
    assert mirror.download_sha256(path) == file.sha256


def test_looking_at_the_status_does_not_count(mirror: MirrorClient, home: MirrorHome) -> None:
    """The count stays as it is once nginx, which logs every second, has logged earlier requests."""
    counts = []
    for _ in range(5):
        counts.append(home.run_json("status")[1]["figures"]["requests"])
        time.sleep(1.5)
    assert counts[-3] == counts[-2] == counts[-1]


@pytest.mark.parametrize("method", ["HEAD", "range"])
def test_head_and_range_of_a_file_that_is_not_cached(
    mirror: MirrorClient, healthy_upstream: FaultyUpstream, method: str
) -> None:
    """Honest answers, and one download."""
    project = f"cold-{method.lower()}"
    healthy_upstream.add_wheel(project, 200_000)
    (file,) = healthy_upstream.projects[project].files.values()
    file.delay = 0.2
    path = mirror.find_file_path(project)
    if method == "HEAD":
        response = httpx.head(mirror.root + path, trust_env=False, timeout=60)
        assert response.status_code == 200
        assert response.headers["content-length"] == str(len(file.content))
    else:
        response = mirror.get(path, {"Range": "bytes=0-99"})
        assert response.status_code in {200, 206}
        length = 100 if response.status_code == 206 else len(file.content)
        assert response.content == file.content[:length]
    assert mirror.get(path).content == file.content
    assert list(healthy_upstream.count_downloads().values()) == [1]


def run_uv(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "UV_NO_CACHE": "1", "UV_PYTHON_DOWNLOADS": "never", **environment}
    return subprocess.run(
        ("uv", *arguments), cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


def test_a_moved_lock_installs_from_the_mirror_alone(
    mirror: MirrorClient, home: MirrorHome, healthy_upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """The lock was made with the index; the index is gone for the one who installs."""
    healthy_upstream.add_package("locked-lib", metadata=METADATA)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
        'dependencies = ["locked-lib"]\n'
    )
    made = run_uv(tmp_path, "lock", UV_DEFAULT_INDEX=healthy_upstream.url)
    assert made.returncode == 0, made.stderr
    lock = tmp_path / "uv.lock"
    original = lock.read_bytes()
    assert f"127.0.0.1:{healthy_upstream.port}".encode() in original
    moved = home.run_mirror("lock", "to", str(lock), "-o", "json")
    assert moved.returncode == 0, moved.stderr
    assert json.loads(moved.stdout)["files"] == 1
    assert f":{healthy_upstream.port}".encode() not in lock.read_bytes()
    before = sum(healthy_upstream.request_counts.values())
    synced = run_uv(tmp_path, "sync", "--frozen", "-v")
    assert synced.returncode == 0, synced.stderr
    assert list((tmp_path / ".venv").glob("lib/*/site-packages/locked_lib.py"))
    ran = run_uv(tmp_path, "run", "--frozen", "python", "-c", "import locked_lib")
    assert ran.returncode == 0, ran.stderr
    downloads = healthy_upstream.count_downloads()
    assert sum(healthy_upstream.request_counts.values()) - before <= 1 + len(downloads)
    back = home.run_mirror("lock", "from", str(lock))
    assert back.returncode == 0, back.stderr
    assert lock.read_bytes() == original
    index = tomllib.loads(home.run_mirror("env", "-o", "uv.toml").stdout)["index"][0]
    assert index["proxy-for"] == healthy_upstream.url
    assert index["artifact-base-url"] == f"{mirror.root}/packages/"


def test_a_file_moves_to_the_folder_of_its_path(
    mirror: MirrorClient, healthy_upstream: FaultyUpstream
) -> None:
    """The project list counts it."""
    file: FaultyFile = healthy_upstream.add_package("listed-lib")
    mirror.get_page("listed-lib")
    mirror.get(f"/packages/{file.path}").raise_for_status()
    projects = {row["name"]: row for row in mirror.get("/+mirror/projects").json()}
    assert projects["listed-lib"]["files"] == 1
    assert projects["listed-lib"]["bytes"] == len(file.content)
