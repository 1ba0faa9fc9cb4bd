"""The volume is full, really: a small filesystem of its own (faults, row 10)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome
from tests.wheels import make_wheel

VOLUME_BYTES = 24 * 1024**2


@pytest.fixture(scope="module")
def mirror(
    tmp_path_factory: pytest.TempPathFactory, program: RunProgram, upstream: FaultyUpstream
) -> Iterator[MirrorClient]:
    made = MirrorHome(tmp_path_factory.mktemp("full"), program)
    data = made.root / "data"
    data.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", str(data)]
    subprocess.run(words, check=True, timeout=30)
    try:
        made.up("--upstream", upstream.url)
        yield MirrorClient(made)
    finally:
        made.run_mirror("down")
        subprocess.run(["umount", str(data)], check=True, timeout=30)


@pytest.fixture
def ballast(mirror: MirrorClient) -> Iterator[Path]:
    """All room is taken while it is there."""
    path = mirror.home.root / "data/ballast"
    with suppress(OSError), path.open("wb", 0) as out:
        for block in (1 << 16, 1):
            with suppress(OSError):
                while out.write(b"x" * block) == block:
                    pass
    yield path
    path.unlink(missing_ok=True)


def run_status(mirror: MirrorClient) -> str:
    done = mirror.home.run_mirror("status")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_kept_is_served_and_the_rest_comes_when_there_is_room(
    mirror: MirrorClient, upstream: FaultyUpstream, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    upstream.add_project("kept")
    upstream.add_project("cold", "1.0", "2.0")
    link = mirror.find_file_path("kept")
    content = mirror.get(link).raise_for_status().content
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    assert f"{mirror.home.root}" not in run_status(mirror).partition("trouble")[2]

    ballast: Path = request.getfixturevalue("ballast")
    for _ in range(2):
        assert mirror.get(link).content == content
        assert mirror.get_page("kept").raise_for_status().json()["files"]
        html = mirror.get_page("kept", {"Accept": "text/html"}).raise_for_status()
        assert link.rpartition("/")[2] in html.text, "a form that was never made is made in memory"
        pages = [mirror.get_page("cold"), mirror.get_page("cold", {"Accept": "text/html"})]
        assert [page.status_code for page in pages] == [200, 200]
        refused = mirror.get(mirror.find_file_path("cold"))
        assert (refused.status_code, refused.text.strip()) == (
            503,
            "No space left on the mirror's volume",
        )
        assert mirror.list_cached_files("cold") == []
        assert list((mirror.cache_dir / "partial").iterdir()) == []
        told = run_status(mirror)
        assert f"the disk of {mirror.cache_dir.parent} is full: make room on it" in told
        assert "is away" not in told, "our disk is no fault of the upstream's"
        added = mirror.home.run_mirror("add", str(wheel))
        assert added.returncode == 1
        assert "house_lib-1.0-py3-none-any.whl is not stored: the mirror's volume is full" in (
            added.stderr
        )
        # and again after a start on the full volume
        mirror.home.run_mirror("down")
        mirror.home.up()

    ballast.unlink()
    assert mirror.get(mirror.find_file_path("cold")).status_code == 200
    assert mirror.home.run_mirror("add", str(wheel)).returncode == 0
    assert "trouble" not in run_status(mirror)
    assert mirror.home.run_mirror("verify").returncode == 0


def test_a_file_whose_last_bytes_find_no_room_is_not_kept(
    mirror: MirrorClient, upstream: FaultyUpstream, ballast: Path
) -> None:
    """The kernel takes a part of a block and says so only by the count."""
    upstream.add_project("short")
    link = mirror.find_file_path("short")
    with ballast.open("r+b") as out:
        out.truncate(ballast.stat().st_size - 4096)
    refused = mirror.get(link)
    assert refused.status_code == 503
    assert mirror.list_cached_files("short") == []
    ballast.unlink()
    (file,) = upstream.projects["short"].files.values()
    assert mirror.get(link).content == file.content
