"""A mirror of this machine before an upstream of this machine; one of each for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Run
from tests.faults.upstream import Upstream, upstream
from tests.local.place import Place


@pytest.fixture(scope="module")
def _source() -> Iterator[Upstream]:
    with upstream() as here:
        yield here


@pytest.fixture
def source(_source: Upstream) -> Upstream:
    """Well and quick at the start of each test."""
    _source.down, _source.pause = False, 0.0
    _source.asked.clear()
    return _source


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: Run, _source: Upstream
) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"), program)
    made.up("--upstream", f"{_source.url}/simple/")
    yield made
    made.mirror("down")
