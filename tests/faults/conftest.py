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

from tests.conftest import Run
from tests.faults.unwell import FaultyUpstream
from tests.faults.upstream import Upstream
from tests.faults.upstream import upstream as upstream_here
from tests.local.place import Place


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
def _source() -> Iterator[Upstream]:
    with upstream_here() as here:
        yield here


@pytest.fixture
def source(_source: Upstream) -> Upstream:
    """Well and quick at the start of each test."""
    _source.down, _source.pause = False, 0.0
    _source.asked.clear()
    return _source


@pytest.fixture(scope="module")
def upstream() -> Iterator[FaultyUpstream]:
    made = FaultyUpstream()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: Run, _source: Upstream
) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"), program)
    made.up("--upstream", f"{_source.url}/simple/")
    yield made
    made.mirror("down")
