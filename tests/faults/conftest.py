"""A mirror of this machine before an upstream of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.faults.upstream import Upstream, upstream
from tests.local.place import Place


@pytest.fixture
def source() -> Iterator[Upstream]:
    with upstream() as here:
        yield here


@pytest.fixture
def place(tmp_path: Path, program: Run, source: Upstream) -> Iterator[Place]:
    """Not started yet; `up` needs no options: the upstream is remembered."""
    made = Place(tmp_path / "place", program)
    made.up("--upstream", f"{source.url}/simple/")
    yield made
    made.mirror("down")
