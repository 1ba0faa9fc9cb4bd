"""Entries that version 0.1.0 stored can still be read, compared and rolled back.

tests/unit/cases/ledger/version-0.1.0.json has one ConfigMap for each kind of target and fix, and
one of an interrupted rollback, as that version wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.changes.ledger import Ledger, config_map_name
from deploy.changes.model import LedgerEntry
from deploy.changes.provenance import find_flaw
from deploy.fix_registry import load_editors
from mirror.core.errors import RefusedError
from tests.kubernetes_api import DirectCluster, MemoryApi

PATH = Path(__file__).parents[2] / "cases" / "ledger" / "version-0.1.0.json"
CONFIG_MAPS: list[dict[str, Any]] = json.loads(PATH.read_text())


def read(config_map: dict[str, Any]) -> LedgerEntry:
    api = MemoryApi()
    api.seed(config_map)
    (stored,) = Ledger(DirectCluster(api)).read_all()
    return stored.entry


@pytest.mark.parametrize("config_map", CONFIG_MAPS, ids=lambda obj: obj["metadata"]["name"][-6:])
def test_reads_and_writes_the_same_config_map(config_map: dict[str, Any]) -> None:
    entry = read(config_map)
    assert config_map_name(entry.target) == config_map["metadata"]["name"]
    api = MemoryApi()
    Ledger(DirectCluster(api)).put(entry, None)
    # a page of 0.1.0 has no version; what is written again says the version of its format
    assert api.requests[-1].body == {**config_map, "data": {**config_map["data"], "version": "2"}}


@pytest.mark.parametrize("config_map", CONFIG_MAPS, ids=lambda obj: obj["metadata"]["name"][-6:])
def test_editors_still_write_the_same_content(config_map: dict[str, Any]) -> None:
    """Otherwise `mirror status` would call a fix drifted after an upgrade."""
    entry, editors = read(config_map), load_editors()
    if entry.pending:
        return

    def apply_edits(content: bytes | None) -> bytes | None:
        for applied in entry.edits:
            content = editors[applied.edit.fix].edit(applied.edit, entry.target, content)
        return content

    if any(editor.owns(entry.target) for editor in editors.values()):
        assert apply_edits(entry.written) == entry.written, "the earlier form stays as it is"
    else:
        assert apply_edits(entry.base) == entry.written


def test_a_page_of_a_newer_version_is_kept() -> None:
    """Deleting it would lose the only copy of what a change replaced."""
    config_map = json.loads(json.dumps(CONFIG_MAPS[0]))
    config_map["data"] |= {"version": "3", "entry.json": "in another format"}
    with pytest.raises(RefusedError, match="was made by a newer version of mirror") as error:
        read(config_map)
    assert "delete" not in error.value.next_step
    config_map["data"]["version"] = "3x"
    with pytest.raises(RefusedError, match="is damaged"):
        read(config_map)


def test_a_copy_under_the_name_of_another_target_is_refused() -> None:
    config_map = json.loads(json.dumps(CONFIG_MAPS[0]))
    config_map["metadata"]["name"] = "pypi-mirror-ledger-000000000000"
    with pytest.raises(RefusedError, match="is damaged") as error:
        read(config_map)
    assert "has another name" in error.value.why


@pytest.mark.parametrize("config_map", CONFIG_MAPS, ids=lambda obj: obj["metadata"]["name"][-6:])
def test_pages_of_0_1_0_can_be_what_the_fixes_made(config_map: dict[str, Any]) -> None:
    assert find_flaw(read(config_map), load_editors()) == ""


def test_refuses_an_altered_entry() -> None:
    config_map = json.loads(json.dumps(CONFIG_MAPS[0]))
    config_map["binaryData"]["base"] = "YWx0ZXJlZA=="
    with pytest.raises(RefusedError, match="is damaged") as error:
        read(config_map)
    assert "`base`" in error.value.why
