"""An engine that dies in the middle of a build, and one whose disk is full.

It is another one than the other tests', on a file system of its own, which is small.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.engine import DockerEngine, docker_engine
from tests.cluster.images import ensure_base_image
from tests.images.interrupted_build import start_build, stop_build
from tests.images.projects import BuildEnvironment, make_plain_project

pytestmark = [pytest.mark.engine, pytest.mark.index]

TAG = "plain:kept"
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """700 MB, in memory."""
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", folder), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)


@contextmanager
def running(disk: Path, shop: BuildEnvironment) -> Iterator[BuildEnvironment]:
    """The mirror of the others and this disk's engine, which goes on with what is there."""
    with docker_engine(disk, keep=True) as engine:
        yield replace(shop, engine=engine)


def holds(shop: BuildEnvironment) -> tuple[str, set[str]]:
    """The image that has the name, and all names."""
    return str(shop.inspect(TAG)["Id"]), shop.list_images()


def test_a_full_disk_and_an_engine_that_dies(
    shop: BuildEnvironment, disk: Path, tmp_path: Path
) -> None:
    """One story, as each engine takes seconds to start."""
    folder = make_plain_project(tmp_path / "plain")
    with running(disk, shop) as small:
        small.engine.load(ensure_base_image())
        small.build_report(str(folder), "--tag", TAG, "--no-proof")
        before = holds(small)

        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler = disk / "filler"
        with filler.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, free - 24 * MEGABYTE)
        (folder / "large").write_bytes(os.urandom(32 * MEGABYTE))
        done = small.build(str(folder), "--tag", TAG)
        assert done.returncode == 3, done.stderr
        assert "no space left on device" in done.stderr
        assert "next: make room where the engine keeps its data" in done.stderr
        assert holds(small) == before
        nothing_left(small.engine)
        filler.unlink()
        (folder / "large").unlink()

        child = start_build(small, folder, TAG)
        said = stop_build(child, lambda: os.kill(small.engine.pid, signal.SIGKILL), code=3)
        assert "the Docker engine went away" in said
        assert "next: start it again" in said
        assert "Traceback" not in said

    with running(disk, shop) as again:
        assert holds(again) == before
        assert "42" in again.engine.docker("run", "--rm", "--network", "none", TAG)
        assert again.engine.docker("ps", "--all", "--quiet").strip(), "of the build that died"
        again.build_report(str(make_plain_project(tmp_path / "again")), "--tag", TAG, "--no-proof")
        nothing_left(again.engine)


def nothing_left(engine: DockerEngine) -> None:
    assert not engine.docker("ps", "--all", "--quiet").strip()
    assert not engine.docker("volume", "ls", "--quiet").strip()


def test_no_room_for_the_build_context(shop: BuildEnvironment, disk: Path, tmp_path: Path) -> None:
    folder = make_plain_project(tmp_path / "plain")
    with (folder / "large").open("wb") as out:
        out.truncate(900 * MEGABYTE)
    before = shop.list_images()
    done = shop.build(str(folder), "--tag", "plain:large", TMPDIR=str(disk))
    assert done.returncode == 3, done.stderr
    assert "the source cannot be packed for the engine" in done.stderr
    assert f"make room in {disk}" in done.stderr
    assert shop.list_images() == before
    nothing_left(shop.engine)
