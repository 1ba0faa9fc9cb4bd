"""The cache of layers: complete or not there, and the oldest leave first."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from images.assembly.cache import LayerCache, content_key
from images.assembly.segment import LayerEntry


def make(cache: LayerCache, key: str, content: bytes = b"text") -> None:
    with cache.stage() as staged:
        entry = LayerEntry(name="a", size=len(content))
        staged.open(key).add(entry, io.BytesIO(content))
        staged.commit({key: {"built": ["x"]}})


def test_finds_what_was_committed(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path / "layers")
    assert cache.find("k") is None
    make(cache, "k")
    segment = cache.find("k")
    assert segment
    assert segment.facts == {"built": ["x"]}
    assert segment.size == segment.path.stat().st_size == 1024
    assert [(entry.name, entry.start, entry.end) for entry in segment.read_index()] == [
        ("a", 0, 1024)
    ]


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path)
    with pytest.raises(KeyboardInterrupt), cache.stage() as staged:
        staged.open("k").add(LayerEntry(name="a"))
        raise KeyboardInterrupt
    assert cache.find("k") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [("tar", "cut"), ("tar", "gone"), ("json", "cut"), ("json", "gone"), ("index", "gone")],
)
def test_does_not_use_a_damaged_segment(tmp_path: Path, suffix: str, damage: str) -> None:
    cache = LayerCache(folder=tmp_path)
    make(cache, "k")
    path = tmp_path / f"k.{suffix}"
    if damage == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 1)
    assert cache.find("k") is None


def test_a_segment_that_is_made_again_has_another_stamp(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path)
    make(cache, "k")
    before = cache.get("k").stamp
    make(cache, "k")
    assert cache.get("k").stamp != before


def test_trims_what_was_not_used_for_the_longest_time(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path)
    for number, key in enumerate(("first", "second", "third")):
        make(cache, key)
        os.utime(tmp_path / f"{key}.tar", (number, number))
    assert cache.find("first"), "it counts as used now"
    assert cache.trim(2 * 1024) == 1024
    assert [key for key in ("first", "second", "third") if cache.find(key)] == ["first", "third"]
    assert not list(tmp_path.glob("second.*"))


def test_trimming_removes_what_a_killed_build_left(tmp_path: Path) -> None:
    cache = LayerCache(folder=tmp_path)
    for name in (".staged-old", ".staged-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_text("x")
    os.utime(tmp_path / ".staged-old", (1, 1))
    cache.trim(0)
    assert [path.name for path in tmp_path.iterdir()] == [".staged-new"]


FACTS: dict[str, Any] = {"image": "sha256:a", "pins": ["a==1 --hash=sha256:0"], "flags": "-O2"}


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "sha256:b"},
        {"pins": ["a==1 --hash=sha256:1"]},
        {"flags": "-O3"},
        {"more": ""},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_fact_changes_the_key(changed: dict[str, Any]) -> None:
    assert content_key("wheel", **FACTS) == content_key("wheel", **FACTS)
    assert content_key("wheel", **FACTS) != content_key("wheel", **{**FACTS, **changed})
    assert content_key("wheel", **FACTS) != content_key("built", **FACTS)


def test_the_format_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_key("wheel", **FACTS)
    monkeypatch.setattr("images.assembly.cache.FORMAT", "another")
    assert content_key("wheel", **FACTS) != before
