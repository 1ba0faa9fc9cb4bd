"""Three-way merges: edits in different places, and conflicts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.merge import encode_spec, merge

LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"}\n", b"  d\n"]), max_size=12)


def text(lines: list[bytes]) -> bytes:
    return b"".join(lines)


@given(LINES, LINES)
def test_takes_the_change_of_the_only_side_that_changed(old: list[bytes], new: list[bytes]) -> None:
    assert merge(text(old), text(old), text(new)).content == text(new)
    assert merge(text(old), text(new), text(old)).content == text(new)
    both = merge(text(old), text(new), text(new))
    assert both.is_clean
    assert both.content == text(new)


@given(LINES, LINES, st.integers(0, 12), st.integers(0, 12))
def test_keeps_an_edit_elsewhere(old: list[bytes], mine: list[bytes], at: int, to: int) -> None:
    """A block that we inserted is removed again; a line of somebody else stays or conflicts."""
    at, to = min(at, len(old)), min(to, len(old))
    block = [b"begin\n", *mine, b"end\n"]
    ours, mark = [*old[:at], *block, *old[at:]], b"somebody's\n"
    # our text has the block, theirs adds a line to it, and now the block is removed
    inside = to if to <= at else to + len(block)
    theirs = [*ours[:inside], mark, *ours[inside:]]
    merged = merge(text(ours), text(old), text(theirs))
    if merged.is_clean:
        assert mark in (merged.content or b"")
        assert b"begin\n" not in (merged.content or b"")
        left = (merged.content or b"").replace(mark, b"", 1)
        assert left == text(old)


def test_an_edit_inside_our_lines_is_a_conflict() -> None:
    ours = b"a\nBEGIN\nx\nEND\nb\n"
    merged = merge(ours, b"a\nb\n", b"a\nBEGIN\ny\nEND\nb\n")
    (conflict,) = merged.conflicts
    assert "y" in conflict.theirs
    assert merged.content == b"a\nb\n"


def test_their_deletion_of_our_lines_is_no_conflict() -> None:
    assert merge(b"a\nX\nY\nb\n", b"a\nb\n", b"a\nX\nb\n").is_clean


def test_absent_content_counts_as_a_value() -> None:
    assert merge(b"a", b"a", None).content is None
    assert merge(None, None, b"a").content == b"a"
    assert not merge(b"a\n", b"b\n", None).is_clean


def spec(value: Any) -> bytes:
    return encode_spec(value)


@pytest.mark.parametrize(
    ("old", "ours", "theirs", "expected"),
    [
        ({"a": 1, "b": 1}, {"a": 1}, {"a": 2, "b": 1}, {"a": 2}),
        (
            {"c": [{"name": "x", "i": 1, "e": [1]}]},
            {"c": [{"name": "x", "i": 1}]},
            {"c": [{"name": "x", "i": 2, "e": [1]}, {"name": "y"}]},
            {"c": [{"name": "x", "i": 2}, {"name": "y"}]},
        ),
        ({"l": [{"r": 1}]}, {}, {"l": [{"r": 1}, {"r": 2}]}, {"l": [{"r": 2}]}),
        ({"d": {"o": [{"name": "n"}]}}, {}, {"d": {"o": [{"name": "n"}], "s": 1}}, {"d": {"s": 1}}),
        ({"a": {"x": 1}}, {"a": {"x": 1, "y": 2}}, {}, None),
    ],
)
def test_merges_specs_by_their_keys(old: Any, ours: Any, theirs: Any, expected: Any) -> None:
    merged = merge(spec(old), spec(ours), spec(theirs), spec=True)
    if expected is not None:
        assert merged.is_clean
        assert json.loads(merged.content or b"") == expected


def test_a_key_that_both_changed_is_a_conflict() -> None:
    merged = merge(spec({"a": 1}), spec({"a": 2}), spec({"a": 3}), spec=True)
    (conflict,) = merged.conflicts
    assert (conflict.place, conflict.ours, conflict.theirs) == ("spec.a", "2", "3")
