"""Processes that end, on the API that a test's fixture `api` provides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.cluster import process_identity
from tests.kubernetes_api import MemoryApi

Restart = Callable[[], None]


@pytest.fixture
def restart(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> Restart:
    """Provide a function after which this is another process: the killed one has ended."""
    starts = [0]
    space = process_identity.pid_space()
    monkeypatch.setattr(process_identity, "process_stamp", lambda _: f"{space}/{starts[0]}")

    def restart() -> None:
        starts[0] += 1
        api.failures.revive()

    return restart
