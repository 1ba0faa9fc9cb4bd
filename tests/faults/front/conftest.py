"""One mirror a module, with an upstream that the tests make unwell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Run
from tests.faults.asking import Asked
from tests.faults.unwell import FaultyUpstream
from tests.local.place import Place


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: Run, upstream: FaultyUpstream
) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("mirror"), program)
    try:
        made.up("--upstream", upstream.url)
        yield made
    finally:
        made.mirror("down")


@pytest.fixture
def mirror(place: Place) -> Asked:
    return Asked(place)
