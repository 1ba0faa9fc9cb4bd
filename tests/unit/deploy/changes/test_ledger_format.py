"""Entries that version 0.1.0 stored can still be read, compared and rolled back.

tests/unit/cases/ledger/version-0.1.0.json has one ConfigMap for each kind of target and fix, and
one of an interrupted rollback, as that version wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.changes.ledger import Ledger, config_map_name
from deploy.changes.model import LedgerEntry
from deploy.cluster.client import Cluster
from deploy.fix_registry import load_editors
from mirror.core.errors import RefusedError

PATH = Path(__file__).parents[2] / "cases" / "ledger" / "version-0.1.0.json"
CONFIG_MAPS: list[dict[str, Any]] = json.loads(PATH.read_text())


class FakeConfigMapCluster:
    """A cluster with one ConfigMap. Records what is written."""

    def __init__(self, config_map: dict[str, Any]) -> None:
        meta = {**config_map["metadata"], "resourceVersion": "1"}
        self.config_map = {**config_map, "metadata": meta}
        self.written: dict[str, Any] = {}

    def list(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [self.config_map]

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.written = json.loads(json.dumps(obj))
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": "2"}}


def read(config_map: dict[str, Any]) -> LedgerEntry:
    (stored,) = Ledger(cast("Cluster", FakeConfigMapCluster(config_map))).read_all()
    return stored.entry


@pytest.mark.parametrize("config_map", CONFIG_MAPS, ids=lambda obj: obj["metadata"]["name"][-6:])
def test_reads_and_writes_the_same_config_map(config_map: dict[str, Any]) -> None:
    entry = read(config_map)
    assert config_map_name(entry.target) == config_map["metadata"]["name"]
    fake = FakeConfigMapCluster(config_map)
    Ledger(cast("Cluster", fake)).put(entry, None)
    assert fake.written == config_map


@pytest.mark.parametrize("config_map", CONFIG_MAPS, ids=lambda obj: obj["metadata"]["name"][-6:])
def test_editors_still_write_the_same_content(config_map: dict[str, Any]) -> None:
    """Otherwise `mirror status` would call a fix drifted after an upgrade."""
    entry, editors = read(config_map), load_editors()
    if entry.pending:
        return
    content = entry.base
    for applied in entry.edits:
        content = editors[applied.edit.fix].edit(applied.edit, entry.target, content)
    assert content == entry.written


def test_refuses_an_altered_entry() -> None:
    config_map = json.loads(json.dumps(CONFIG_MAPS[0]))
    config_map["binaryData"]["base"] = "YWx0ZXJlZA=="
    with pytest.raises(RefusedError, match="is damaged") as error:
        read(config_map)
    assert "`base`" in error.value.why
