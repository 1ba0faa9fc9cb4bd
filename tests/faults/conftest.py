"""A local mirror and its upstream, one of each for a test module."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome


@pytest.fixture
def memory_dir(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, so that the disk's speed does not count; on disk if it is full."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < 512 * 1024**2:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    index = FaultyUpstream()
    yield index
    index.stop()


@pytest.fixture
def healthy_upstream(upstream: FaultyUpstream) -> FaultyUpstream:
    """The upstream of the module, healthy and fast, with no requests counted yet."""
    upstream.reset()
    return upstream


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, program: RunProgram, upstream: FaultyUpstream
) -> Iterator[MirrorHome]:
    home = MirrorHome(tmp_path_factory.mktemp("mirror"), program)
    try:
        home.up("--upstream", upstream.url)
        yield home
    finally:
        home.run_mirror("down")


@pytest.fixture
def mirror(home: MirrorHome) -> MirrorClient:
    return MirrorClient(home)
