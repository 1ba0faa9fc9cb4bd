"""Each row of the threat model names tests that exist."""

from __future__ import annotations

import re

from tests import REPOSITORY

ROWS = [
    line
    for line in (REPOSITORY / "docs/security.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| who ", "|---"))
]


def test_every_row_names_tests_that_exist() -> None:
    sources = [path.read_text() for path in (REPOSITORY / "tests").rglob("test_*.py")]
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    named = {row: re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1]) for row in ROWS}
    assert [row for row, tests in named.items() if not tests] == []
    assert {test for tests in named.values() for test in tests} - defined == set()
    assert len(ROWS) > 15
