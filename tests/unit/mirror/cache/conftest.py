"""A running cache, and the upstream that it asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cache.scrubber import Scrubber
from tests.faults.cache_process import CacheClient, run_cache
from tests.faults.faulty_upstream import FaultyUpstream


@pytest.fixture
def index() -> Iterator[FaultyUpstream]:
    index = FaultyUpstream()
    yield index
    index.stop()


@pytest.fixture
def cache(tmp_path: Path, index: FaultyUpstream) -> Iterator[CacheClient]:
    with run_cache(tmp_path / "data/public", index.url, Scrubber(tmp_path / "data")) as client:
        yield client
