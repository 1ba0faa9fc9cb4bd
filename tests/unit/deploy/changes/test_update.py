"""The difference that a plan shows for one target."""

from __future__ import annotations

import pytest

from deploy.changes.model import NodeFile
from deploy.changes.update import TargetUpdate, render_diff
from mirror.snapshot import Snapshot

FILE = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf"


def make_update(before: bytes | None, after: bytes | None) -> TargetUpdate:
    target = NodeFile(node="ra", path=FILE)
    snapshot = Snapshot(content=before, version="1")
    return TargetUpdate(
        target=target, snapshot=snapshot, stored=None, base=before, edits=(), after=after
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, b"new", ["--- /dev/null", "+++ b/{}", "@@ -1 +1 @@", "-", "+new"]),
        (b"old", None, ["--- a/{}", "+++ /dev/null", "@@ -1 +1 @@", "-old", "+"]),
        (b"old", b"new", ["--- a/{}", "+++ b/{}", "@@ -1 +1 @@", "-old", "+new"]),
        (b"a\r\n", b"a\n", ["--- a/{}", "+++ b/{}", "@@ -1,2 +1,2 @@", "-a␍", "+a", " "]),
        (b"same", b"same", []),
        (None, None, []),
    ],
    ids=["created", "removed", "changed", "line ends", "equal", "absent"],
)
def test_shows_the_difference(
    before: bytes | None, after: bytes | None, expected: list[str]
) -> None:
    update = make_update(before, after)
    lines = [line.format(update.target) for line in expected]
    assert render_diff(update).splitlines() == lines
