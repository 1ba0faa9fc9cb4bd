"""Targets that are equal on several nodes are printed once."""

from __future__ import annotations

from cli.output.node_groups import group_diffs, group_targets
from deploy.repair.model import TargetDiff


def diff(target: str, before: str, after: str) -> TargetDiff:
    text = f"--- a/{target}\n+++ b/{target}\n@@ -1,2 +1,2 @@\n-{before}\n+{after}\n "
    return TargetDiff(target=target, text=text, why=("off now",))


def test_equal_differences_are_grouped() -> None:
    groups = group_diffs(
        [
            diff("sysctl x on node anubis", "0", "1"),
            diff("ConfigMap a/b key c", "y", "z"),
            diff("sysctl x on node babel", "2", "1"),
            diff("sysctl x on node ra", "0", "1"),
        ]
    )
    assert [(group.target, group.text) for group in groups] == [
        ("sysctl x on nodes anubis, ra", "0 → 1"),
        ("ConfigMap a/b key c", "y → z"),
        ("sysctl x on node babel", "2 → 1"),
    ]


def test_written_targets_are_grouped_by_place() -> None:
    written = [
        "ConfigMap a/b key c",
        "file /x on node ra",
        "file /y on node ra",
        "file /x on node b",
    ]
    assert group_targets(written) == [
        "ConfigMap a/b key c",
        "file /x on nodes ra, b",
        "file /y on node ra",
    ]
