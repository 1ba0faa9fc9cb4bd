"""A mirror of this machine before an upstream of this machine; one of each for a file of tests.

`source` is an upstream that is down or slow, `upstream` one that is unwell in any way.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunProgram
from tests.faults.counting_upstream import CountingUpstream
from tests.faults.counting_upstream import serve_counting_upstream as upstream_here
from tests.faults.faulty_upstream import FaultyUpstream
from tests.local.mirror_home import MirrorHome


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory: what a kill leaves does not depend on the disk, a start's time does."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < 512 * 1024**2:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def _source() -> Iterator[CountingUpstream]:
    with upstream_here() as here:
        yield here


@pytest.fixture
def source(_source: CountingUpstream) -> CountingUpstream:
    """Well and quick at the start of each test."""
    _source.is_down, _source.chunk_delay = False, 0.0
    _source.request_counts.clear()
    return _source


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    made = FaultyUpstream()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: RunProgram, _source: CountingUpstream
) -> Iterator[MirrorHome]:
    made = MirrorHome(tmp_path_factory.mktemp("place"), program)
    made.up("--upstream", f"{_source.url}/simple/")
    yield made
    made.run_mirror("down")
