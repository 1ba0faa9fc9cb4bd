"""Markers that choose extras and groups, as PDM, Poetry and uv write them."""

from __future__ import annotations

import pytest
from packaging.markers import Marker

from mirror.lock_formats.selection import select_marker

WINDOWS = "sys_platform == 'win32'"


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", ""),
        (WINDOWS, WINDOWS),
        ('"default" in dependency_groups', ""),
        ('"lint" in dependency_groups', None),
        ("'Fast_Path' in extras", ""),
        ("'slow' in extras", None),
        ("'slow' not in extras", ""),
        ('extra == "fast-path"', ""),
        ('extra == "slow"', None),
        ('extra != "slow"', ""),
        (f'"default" in dependency_groups and {WINDOWS}', WINDOWS),
        (f'"lint" in dependency_groups and {WINDOWS}', None),
        (f"{WINDOWS} and 'slow' in extras", None),
        ('"lint" in dependency_groups or "default" in dependency_groups', ""),
        (f'"lint" in dependency_groups or {WINDOWS}', WINDOWS),
        (f'({WINDOWS}) and ("default" in dependency_groups or "lint" in dependency_groups)',
         f"({WINDOWS})"),
    ],
)  # fmt: skip
def test_decides_the_choice_and_leaves_the_rest(marker: str, expected: str | None) -> None:
    assert select_marker(marker, ("fast.path",), ("default",)) == expected


def test_what_cannot_be_simplified_still_means_the_same() -> None:
    marker = f'({WINDOWS} and "lint" in dependency_groups) or python_version >= "3.8"'
    selected = select_marker(marker, (), ("default",))
    assert selected
    assert Marker(selected).evaluate({"sys_platform": "win32", "python_version": "3.11"})
    assert not Marker(selected).evaluate({"sys_platform": "win32", "python_version": "3.7"})
