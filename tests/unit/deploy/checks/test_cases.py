"""Saved evidence and what is made of it: tests/unit/cases/checks/<cause>/.

evidence.json is what `mirror doctor --save` wrote, or like.json names a case and what differs from
it, by place (nodes.2.ready). expected.json is what has to be concluded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.doctor.run import judge, load_categories
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import NOT_COLLECTED
from mirror.core.codec import dump, load

CASES = sorted((Path(__file__).parents[2] / "cases" / "checks").iterdir())


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def load_case(case: Path) -> Any:
    """The evidence of a case as JSON."""
    if (case / "evidence.json").exists():
        return read_json(case / "evidence.json")
    like = read_json(case / "like.json")
    told = load_case(case.parent / like["like"])
    for place, value in like["set"].items():
        *way, last = (int(step) if step.isdigit() else step for step in place.split("."))
        within = told
        for step in way:
            within = within[step]
        assert isinstance(within, list) or last in within, f"{case.name}: no {place}"
        within[last] = value
    return told


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_concluded(case: Path) -> None:
    report = judge(load(Evidence, load_case(case)), load_categories())
    told = {
        "outcomes": {
            one.check: one.outcome for one in report.results if one.gaps != (NOT_COLLECTED.reason,)
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
    assert told == read_json(case / "expected.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_evidence_survives_being_saved(case: Path) -> None:
    seen = load(Evidence, load_case(case))
    assert load(Evidence, json.loads(json.dumps(dump(seen)))) == seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mends_go_from_the_least_invasive(case: Path) -> None:
    order = ("workload", "namespace", "cluster", "nodes")
    report = judge(load(Evidence, load_case(case)), load_categories())
    for finding in report.findings:
        reaches = [order.index(mend.scope) for mend in finding.remedies]
        assert reaches == sorted(reaches)
        assert finding.remedies


def test_every_check_has_a_case_that_it_finds() -> None:
    found = {
        one["check"] for case in CASES for one in read_json(case / "expected.json")["findings"]
    }
    assert found == {check.id for category in load_categories() for check in category.checks}


def test_where_all_was_seen_and_all_is_well_nothing_is_found() -> None:
    report = judge(load(Evidence, load_case(CASES[0].parent / "whole")), load_categories())
    assert report.findings == ()
    assert {one.outcome for one in report.results} == {"ok"}
