"""What is the same on several nodes is said once."""

from __future__ import annotations

from cli.output.node_groups import group_diffs, group_targets
from deploy.repair.model import TargetDiff


def diff(target: str, before: str, after: str) -> TargetDiff:
    text = f"--- a/{target}\n+++ b/{target}\n@@ -1,2 +1,2 @@\n-{before}\n+{after}\n "
    return TargetDiff(target=target, text=text, why=("off now",))


def test_alike_ones_stand_together_and_others_do_not() -> None:
    found = group_diffs(
        [
            diff("sysctl x on node anubis", "0", "1"),
            diff("ConfigMap a/b key c", "y", "z"),
            diff("sysctl x on node babel", "2", "1"),
            diff("sysctl x on node ra", "0", "1"),
        ]
    )
    assert [(one.title, one.lines) for one in found] == [
        ("sysctl x on nodes anubis, ra", ("0 → 1",)),
        ("ConfigMap a/b key c", ("y → z",)),
        ("sysctl x on node babel", ("2 → 1",)),
    ]


def test_names_of_what_was_written() -> None:
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
