"""The change engine's objects on an API in memory."""

from __future__ import annotations

import pytest

from tests.fix_targets import FixTargets
from tests.kubernetes_api import MemoryApi


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


@pytest.fixture
def targets(api: MemoryApi) -> FixTargets:
    """Provide the objects. The requests that created them are forgotten."""
    targets = FixTargets.in_memory(api)
    targets.recreate()
    api.requests.clear()
    return targets
