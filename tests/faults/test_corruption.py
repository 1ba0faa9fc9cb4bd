"""Files of a running mirror get corrupted, emptied or deleted. docs/reliability.md, row 4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cache.scrubber import Scrubber
from mirror.core.wait import Deadline, wait_until
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

PROJECTS = [f"rot-{number}" for number in range(12)]


def find_stored_files(home: MirrorHome, pattern: str) -> list[Path]:
    data = home.root / "data/pypi-mirror"
    return sorted(path for path in data.rglob(pattern) if path.is_file())


def flip_bits(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 4
    path.write_bytes(content)


def test_verify_finds_and_repairs_corrupted_files(
    home: MirrorHome, mirror: MirrorClient, healthy_upstream: FaultyUpstream
) -> None:
    digests = {project: healthy_upstream.add_wheel(project, 60_000).sha256 for project in PROJECTS}
    paths = {project: mirror.find_file_path(project) for project in PROJECTS}
    for project, path in paths.items():
        assert mirror.download_sha256(path) == digests[project]
    # an answer may end before its file has its final name
    wait_until(
        lambda: len(find_stored_files(home, "rot_*.whl")) == len(PROJECTS),
        deadline=Deadline.after(10),
        what="all files are stored",
    )
    stored = find_stored_files(home, "rot_*.whl")
    assert home.run_json("verify")[1]["flaws"] == []
    for file in stored[:3]:
        flip_bits(file)
    for file in stored[3:6]:
        file.write_bytes(b"")
    for file in stored[6:9]:
        file.unlink()
    code, report = home.run_json("verify")
    assert code == 1
    assert sorted(flaw["state"] for flaw in report["flaws"]) == (
        ["corrupt"] * 3 + ["empty"] * 3 + ["missing"] * 3
    )
    code, report = home.run_json("verify", "--repair")
    assert code == 0, report
    assert report["sound"]
    code, report = home.run_json("verify")
    assert (code, report["flaws"]) == (0, [])
    for project, path in paths.items():
        assert mirror.download_sha256(path) == digests[project]


def test_verify_names_a_corrupted_upload_and_add_restores_it(
    home: MirrorHome, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    assert home.run_mirror("add", str(wheel)).returncode == 0
    (stored,) = find_stored_files(home, wheel.name)
    original = stored.read_bytes()
    stored.write_bytes(original[:-1] + b"?")
    code, report = home.run_json("verify", "--repair")
    assert code == 1
    assert report["flaws"][0]["outcome"] == "set aside"
    table = home.run_mirror("verify")
    assert table.returncode == 1
    assert f"mirror add {wheel.name}" in table.stdout
    added = home.run_mirror("add", str(wheel), "-o", "json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)[0]["outcome"] == "restored"
    assert home.run_json("verify")[1]["flaws"] == []
    copies = find_stored_files(home, wheel.name)
    assert [path for path in copies if path.read_bytes() == original]


@pytest.fixture
def scrubbed_cache(healthy_upstream: FaultyUpstream, tmp_path: Path) -> Iterator[CacheClient]:
    """A cache in this process that checks all stored files every second."""
    root = tmp_path / "data/public"
    scrubber = Scrubber(root.parent, interval=1.0)
    with run_cache(root, healthy_upstream.url, scrubber) as client:
        scrubber.start()
        yield client


def test_the_scrubber_removes_corrupted_files_by_itself(
    scrubbed_cache: CacheClient, healthy_upstream: FaultyUpstream
) -> None:
    file = healthy_upstream.add_wheel("rots", 60_000)
    assert scrubbed_cache.fetch_sha256("rots") == file.sha256
    (path,) = scrubbed_cache.root.rglob("*.whl")
    flip_bits(path)
    wait_until(lambda: not path.exists(), deadline=Deadline.after(60), what="the file is removed")
    assert scrubbed_cache.fetch_sha256("rots") == file.sha256
    scrub = scrubbed_cache.read_status()["scrub"]
    assert (scrub["mended"], scrub["lost"]) == (1, [])
