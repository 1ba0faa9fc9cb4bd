"""An engine that dies during a build, and one whose disk is full.

These tests use an engine of their own, on a small file system.
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
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty file system of 700 MB, in memory."""
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", folder), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)


@contextmanager
def running(small_disk: Path, build_env: BuildEnvironment) -> Iterator[BuildEnvironment]:
    """An engine with its data on the disk, kept from earlier runs, and the shared mirror."""
    with docker_engine(small_disk, keep=True) as engine:
        yield replace(build_env, engine=engine)


def read_images(build_env: BuildEnvironment) -> tuple[str, set[str]]:
    """Return the id of the image with the name TAG, and all names."""
    return str(build_env.inspect(TAG)["Id"]), build_env.list_images()


def test_survives_a_full_disk_and_an_engine_that_dies(
    build_env: BuildEnvironment, small_disk: Path, tmp_path: Path
) -> None:
    """One test for both, because an engine takes seconds to start."""
    folder = make_plain_project(tmp_path / "plain")
    with running(small_disk, build_env) as small:
        small.engine.load(ensure_base_image())
        small.build_report(str(folder), "--tag", TAG, "--no-proof")
        before = read_images(small)

        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler = small_disk / "filler"
        with filler.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, free - 24 * MEGABYTE)
        (folder / "large").write_bytes(os.urandom(32 * MEGABYTE))
        result = small.build(str(folder), "--tag", TAG)
        assert result.returncode == 3, result.stderr
        assert "no space left on device" in result.stderr
        assert "next: make room where the engine keeps its data" in result.stderr
        assert read_images(small) == before
        assert_nothing_left(small.engine)
        filler.unlink()
        (folder / "large").unlink()

        child = start_build(small, folder, TAG)
        output = stop_build(child, lambda: os.kill(small.engine.pid, signal.SIGKILL), code=3)
        assert "lost the connection to the Docker engine" in output
        assert "next: start it again" in output
        assert "Traceback" not in output

    with running(small_disk, build_env) as again:
        assert read_images(again) == before
        assert "42" in again.engine.docker("run", "--rm", "--network", "none", TAG)
        assert again.engine.docker("ps", "--all", "--quiet").strip(), "left by the build that died"
        again.build_report(str(make_plain_project(tmp_path / "again")), "--tag", TAG, "--no-proof")
        assert_nothing_left(again.engine)


def assert_nothing_left(engine: DockerEngine) -> None:
    assert not engine.docker("ps", "--all", "--quiet").strip()
    assert not engine.docker("volume", "ls", "--quiet").strip()


def test_reports_no_room_for_the_build_context(
    build_env: BuildEnvironment, small_disk: Path, tmp_path: Path
) -> None:
    folder = make_plain_project(tmp_path / "plain")
    with (folder / "large").open("wb") as out:
        out.truncate(900 * MEGABYTE)
    before = build_env.list_images()
    result = build_env.build(str(folder), "--tag", "plain:large", TMPDIR=str(small_disk))
    assert result.returncode == 3, result.stderr
    assert "the source cannot be packed for the engine" in result.stderr
    assert f"make room in {small_disk}" in result.stderr
    # the base with its system packages was built before, and serves the next build
    after = build_env.list_images()
    assert before <= after
    assert [name for name in after - before if not name.startswith("pypi-mirror-base:")] == []
    assert_nothing_left(build_env.engine)
