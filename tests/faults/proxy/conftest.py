"""One mirror a module, with an upstream that the tests make unwell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, program: RunProgram, upstream: FaultyUpstream
) -> Iterator[MirrorHome]:
    made = MirrorHome(tmp_path_factory.mktemp("mirror"), program)
    try:
        made.up("--upstream", upstream.url)
        yield made
    finally:
        made.run_mirror("down")


@pytest.fixture
def mirror(place: MirrorHome) -> MirrorClient:
    return MirrorClient(place)
