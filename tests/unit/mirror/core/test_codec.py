"""Dataclasses to JSON values and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

import pytest

from mirror.core.codec import DecodeError, dump, json_key, load


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    name: str
    color: Color = Color.RED
    weight: float = 0.0
    side: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    label: str
    items: tuple[Item, ...] | Missing
    note: str | None = None
    contents: tuple[str, ...] = field(default=(), metadata=json_key("things"))


BOX = Box(label="a", items=(Item(name="n", weight=1.5, side="right"),), contents=("x",))
JSON = {
    "label": "a",
    "items": [{"name": "n", "color": "red", "weight": 1.5, "side": "right"}],
    "note": None,
    "things": ["x"],
}


def test_dump_and_load_are_inverse() -> None:
    assert dump(BOX) == JSON
    assert load(Box, json.loads(json.dumps(JSON))) == BOX
    unseen = Box(label="a", items=Missing(reason="no right"))
    assert load(Box, dump(unseen)) == unseen


def test_missing_keys_get_their_defaults() -> None:
    assert load(Box, {"label": "a", "items": []}) == Box(label="a", items=())


def test_dumps_mappings_addresses_and_paths() -> None:
    value = {1: IPv4Address("192.0.2.1"), "path": Path("/a"), "names": {"x"}}
    assert dump(value) == {"1": "192.0.2.1", "path": "/a", "names": ["x"]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("label", 7, r"\$\.label is int '7'"),
        ("items", "n", r"\$\.items matches none of tuple, Missing"),
        ("items", [{"color": "red"}], r"\$\.items\[0\] does not match Item"),
        ("items", [{"name": "n", "color": "blue"}], r"\$\.items\[0\]\.color is str 'blue'"),
        ("items", [{"name": "n", "weight": True}], r"\$\.items\[0\]\.weight is bool"),
        ("items", [{"name": "n", "side": "up"}], r"\$\.items\[0\]\.side is str 'up'"),
        ("contents", [], r"\$ does not match Box"),
        ("more", 1, r"\$ does not match Box"),
    ],
)
def test_names_the_place_that_does_not_fit(key: str, value: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load(Box, {**JSON, key: value})
