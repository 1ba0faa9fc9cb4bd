"""The volume is full: a small file system of its own. docs/reliability.md, row 10."""

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
    home = MirrorHome(tmp_path_factory.mktemp("full"), program)
    data = home.root / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_BYTES}", "tmpfs", str(data)]
    subprocess.run(mount, check=True, timeout=30)
    try:
        home.up("--upstream", upstream.url)
        yield MirrorClient(home)
    finally:
        home.run_mirror("down")
        subprocess.run(["umount", str(data)], check=True, timeout=30)


@pytest.fixture
def ballast(mirror: MirrorClient) -> Iterator[Path]:
    """A file that takes all free space as long as it exists."""
    path = mirror.home.root / "data/ballast"
    with suppress(OSError), path.open("wb", 0) as file:
        for block in (1 << 16, 1):
            with suppress(OSError):
                while file.write(b"x" * block) == block:
                    pass
    yield path
    path.unlink(missing_ok=True)


def run_status(mirror: MirrorClient) -> str:
    result = mirror.home.run_mirror("status")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_serves_cached_files_and_recovers_when_there_is_space(
    mirror: MirrorClient,
    upstream: FaultyUpstream,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    upstream.add_project("kept")
    upstream.add_project("cold", "1.0", "2.0")
    path = mirror.find_file_path("kept")
    content = mirror.get(path).raise_for_status().content
    wheel = make_wheel(tmp_path, "house-lib", "1.0", "x = 1\n")
    assert f"{mirror.home.root}" not in run_status(mirror).partition("trouble")[2]

    ballast: Path = request.getfixturevalue("ballast")
    for _ in range(2):
        assert mirror.get(path).content == content
        assert mirror.get_page("kept").raise_for_status().json()["files"]
        html = mirror.get_page("kept", {"Accept": "text/html"}).raise_for_status()
        assert path.rpartition("/")[2] in html.text, "the HTML form is made in memory"
        pages = [mirror.get_page("cold"), mirror.get_page("cold", {"Accept": "text/html"})]
        assert [page.status_code for page in pages] == [200, 200]
        response = mirror.get(mirror.find_file_path("cold"))
        assert (response.status_code, response.text.strip()) == (
            503,
            "No space left on the mirror's volume",
        )
        assert mirror.list_cached_files("cold") == []
        assert list((mirror.cache_dir / "partial").iterdir()) == []
        status = run_status(mirror)
        assert f"the disk of {mirror.cache_dir.parent} is full: free some space" in status
        assert "is away" not in status, "the upstream is not to blame for a full volume"
        added = mirror.home.run_mirror("add", str(wheel))
        assert added.returncode == 1
        assert "house_lib-1.0-py3-none-any.whl was not stored: the mirror's volume is full" in (
            added.stderr
        )
        # the second round follows a start on the full volume
        mirror.home.run_mirror("down")
        mirror.home.up()

    ballast.unlink()
    assert mirror.get(mirror.find_file_path("cold")).status_code == 200
    assert mirror.home.run_mirror("add", str(wheel)).returncode == 0
    assert "trouble" not in run_status(mirror)
    assert mirror.home.run_mirror("verify").returncode == 0


def test_discards_a_file_whose_last_bytes_do_not_fit(
    mirror: MirrorClient, upstream: FaultyUpstream, ballast: Path
) -> None:
    """The kernel then writes a part of a block and reports only the smaller count."""
    upstream.add_project("short")
    path = mirror.find_file_path("short")
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - 4096)
    response = mirror.get(path)
    assert response.status_code == 503
    assert mirror.list_cached_files("short") == []
    ballast.unlink()
    (file_served,) = upstream.projects["short"].files.values()
    assert mirror.get(path).content == file_served.content
