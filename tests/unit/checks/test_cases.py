"""Saved evidence and what is made of it: tests/unit/cases/checks/<cause>/.

evidence.json is what `mirror doctor --save` wrote, expected.json what has to be concluded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.diagnose import categories, judge
from deploy.evidence.codec import dump, load
from deploy.evidence.model import NOT_ASKED, Evidence

CASES = sorted((Path(__file__).parents[1] / "cases" / "checks").iterdir())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_concluded(case: Path) -> None:
    report = judge(load(Evidence, read(case / "evidence.json")), categories())
    told = {
        "outcomes": {
            one.check: one.outcome for one in report.results if one.gaps != (NOT_ASKED.reason,)
        },
        "findings": [
            {
                "check": one.check,
                "severity": one.severity,
                "cause": one.cause,
                "nodes": list(one.nodes),
            }
            for one in report.findings
        ],
    }
    assert told == read(case / "expected.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_evidence_survives_being_saved(case: Path) -> None:
    seen = load(Evidence, read(case / "evidence.json"))
    assert load(Evidence, json.loads(json.dumps(dump(seen)))) == seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mends_go_from_the_least_invasive(case: Path) -> None:
    order = ("workload", "namespace", "cluster", "nodes")
    report = judge(load(Evidence, read(case / "evidence.json")), categories())
    for finding in report.findings:
        reaches = [order.index(mend.reach) for mend in finding.mends]
        assert reaches == sorted(reaches)
        assert finding.mends
