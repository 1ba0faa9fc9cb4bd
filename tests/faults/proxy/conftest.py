"""One mirror per module, and an upstream whose faults the tests choose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunProgram
from tests.faults.faulty_upstream import FaultyUpstream
from tests.faults.mirror_client import MirrorClient
from tests.local.mirror_home import MirrorHome


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
