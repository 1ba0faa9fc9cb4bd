"""A cluster in memory for whole commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lifecycle import connect
from tests.kubernetes_api import MemoryApi, serve_api
from tests.kubernetes_api.controllers import finish_namespaces
from tests.unit.cli.memory_lab import CommandLab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLab]:
    api = MemoryApi()
    api.after_write.append(finish_namespaces)
    for name in ("kube-system", "shop", "default"):
        if not api.has("Namespace", name):
            api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    monkeypatch.setattr(connect, "_DIRECT_SECONDS", 0.01)
    with serve_api(api) as served:
        yield CommandLab(api, served.write_kubeconfig(tmp_path / "config"), monkeypatch)
