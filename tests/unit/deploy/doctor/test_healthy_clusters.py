"""`mirror doctor` finds nothing on healthy clusters of common distributions."""

from __future__ import annotations

import pytest

from tests.unit.deploy.doctor.cluster_shapes import SHAPES


@pytest.mark.parametrize("shape", SHAPES)
def test_finds_nothing(shape: str) -> None:
    report = SHAPES[shape]().diagnose()
    assert [(finding.check, finding.cause) for finding in report.findings] == []
    assert {result.check: result.gaps for result in report.skipped} == {}
    assert report.next_command == ""
