"""Kept files of a running mirror rot, are emptied or deleted: `mirror verify` (faults, row 4)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx

from mirror import devpi
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from tests.faults.counting_upstream import CountingUpstream
from tests.faults.installer import download_sha256, find_file_url
from tests.faults.test_kill_one_process import fetch_sha256, start_cache_server
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

PROJECTS = [f"rot-{number}" for number in range(12)]


def find_stored_files(place: MirrorHome, pattern: str) -> list[Path]:
    data = place.root / "data/pypi-mirror"
    return sorted(path for path in data.rglob(pattern) if path.is_file())


def run_verify(place: MirrorHome, *words: str) -> tuple[int, dict[str, Any]]:
    done = place.run_mirror("verify", "-o", "json", *words)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return done.returncode, told


def test_found_mended_and_right_again(place: MirrorHome, source: CountingUpstream) -> None:
    names = {project: source.add_wheel(project, 60_000) for project in PROJECTS}
    urls = {project: find_file_url(place, project) for project in PROJECTS}
    for project, url in urls.items():
        assert download_sha256(url) == source.sha256(names[project])
    # an answer may end before its file has its name
    wait_until(
        lambda: len(find_stored_files(place, "rot_*.whl")) == len(PROJECTS),
        deadline=Deadline.after(10),
        what="kept",
    )
    wheels = find_stored_files(place, "rot_*.whl")
    assert run_verify(place)[1]["flaws"] == []
    for path in wheels[:3]:
        content = bytearray(path.read_bytes())
        content[1000] ^= 4
        path.write_bytes(content)
    for path in wheels[3:6]:
        path.write_bytes(b"")
    for path in wheels[6:9]:
        path.unlink()
    code, found = run_verify(place)
    assert code == 1
    assert sorted(flaw["state"] for flaw in found["flaws"]) == (
        ["corrupt"] * 3 + ["empty"] * 3 + ["missing"] * 3
    )
    code, mended = run_verify(place, "--repair")
    assert code == 0, mended
    assert mended["sound"]
    code, again = run_verify(place)
    assert (code, again["flaws"]) == (0, [])
    for project, url in urls.items():
        assert download_sha256(url) == source.sha256(names[project])


def test_an_upload_that_rotted_is_named_and_comes_back_by_add(
    place: MirrorHome, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    assert place.run_mirror("add", str(wheel)).returncode == 0
    (stored,) = find_stored_files(place, wheel.name)
    good = stored.read_bytes()
    stored.write_bytes(good[:-1] + b"?")
    code, found = run_verify(place, "--repair")
    assert code == 1
    assert found["flaws"][0]["outcome"] == "set aside"
    told = place.run_mirror("verify")
    assert told.returncode == 1
    assert f"mirror add {wheel.name}" in told.stdout
    done = place.run_mirror("add", str(wheel), "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["outcome"] == "restored"
    assert run_verify(place)[1]["flaws"] == []
    assert [path for path in find_stored_files(place, wheel.name) if path.read_bytes() == good]


EVERY_SECOND = """
import sys
from mirror.cache.__main__ import main
main(sys.argv[1:], scrub_interval=1)
"""


def test_what_rots_is_gone_without_a_command(source: CountingUpstream, tmp_path: Path) -> None:
    """The program that fetches looks at what is kept by itself; here every second."""
    name = source.add_wheel("rots", 60_000)
    root, port = tmp_path / "data/public", find_free_port()
    argv = devpi.build_cache_argv(
        sys.executable, root=root, port=port, upstream=f"{source.url}/simple/", ca_bundle=None
    )
    running = start_cache_server((sys.executable, "-c", EVERY_SECOND, *argv[3:]), port)
    try:
        assert fetch_sha256(port, root, "rots") == source.sha256(name)
        (path,) = root.rglob("*.whl")
        content = bytearray(path.read_bytes())
        content[1000] ^= 4
        path.write_bytes(content)
        wait_until(lambda: not path.exists(), deadline=Deadline.after(60), what="it is taken away")
        assert fetch_sha256(port, root, "rots") == source.sha256(name)
        told = httpx.get(
            f"http://127.0.0.1:{port}/+mirror/status", trust_env=False, timeout=60
        ).json()
        assert told["scrub"]["mended"] == 1
        assert told["scrub"]["lost"] == []
    finally:
        running.kill()
        running.wait(10)
