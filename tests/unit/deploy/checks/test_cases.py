"""Judge saved evidence: tests/unit/cases/checks/<cause>/.

evidence.json is a file of `mirror doctor --save`; or like.json names another case and the values
that differ from it, by their paths (nodes.2.ready). expected.json has the expected findings.

tests/unit/cases/neighbors.json has for each check the evidence next to a case that it finds, where
it finds nothing, and why; with "fires", evidence on the near side of a bound.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.doctor.run import judge, load_categories
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import NOT_COLLECTED
from mirror.core.codec import dump, load

CHECKS = Path(__file__).parents[2] / "cases" / "checks"
CASES = sorted(CHECKS.iterdir())
NEIGHBORS = json.loads((CHECKS.parent / "neighbors.json").read_text())


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def load_case(case: Path) -> Any:
    """Return the evidence of a case as JSON."""
    if (case / "evidence.json").exists():
        return read_json(case / "evidence.json")
    return change_case(read_json(case / "like.json"))


def change_case(like: Any) -> Any:
    """Return the evidence of another case with other values."""
    evidence = load_case(CHECKS / like["like"])
    for path, value in like["set"].items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        parent = evidence
        for step in steps:
            parent = parent[step]
        assert isinstance(parent, list) or last in parent, f"no {path} in {like['like']}"
        parent[last] = value
    return evidence


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finds_what_is_expected(case: Path) -> None:
    report = judge(load(Evidence, load_case(case)), load_categories())
    actual = {
        "outcomes": {
            result.check: result.outcome
            for result in report.results
            if result.gaps != (NOT_COLLECTED.reason,)
        },
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "cause": finding.cause,
                "nodes": list(finding.nodes),
            }
            for finding in report.findings
        ],
    }
    assert actual == read_json(case / "expected.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_evidence_survives_json(case: Path) -> None:
    document = load_case(case)
    evidence = load(Evidence, document)
    saved = json.loads(json.dumps(dump(evidence)))
    assert load(Evidence, saved) == evidence
    assert_contains(saved, document)


def assert_contains(saved: Any, document: Any) -> None:
    """The saved JSON has every key and value of an older document; it may have more keys."""
    if isinstance(document, dict):
        for key, value in document.items():
            assert_contains(saved[key], value)
    elif isinstance(document, list):
        for item, older in zip(saved, document, strict=True):
            assert_contains(item, older)
    else:
        assert saved == document


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_remedies_are_ordered_from_the_least_invasive(case: Path) -> None:
    order = ("workload", "namespace", "cluster", "nodes")
    report = judge(load(Evidence, load_case(case)), load_categories())
    for finding in report.findings:
        ranks = [(each.insufficient, order.index(each.scope)) for each in finding.remedies]
        assert ranks == sorted(ranks)
        assert finding.remedies


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_check_reads_only_what_it_needs(case: Path) -> None:
    """With --category, nothing else is collected. What it adds to its remedies may be missing."""
    evidence = load(Evidence, load_case(case))
    for category in load_categories():
        for check in category.checks:
            if any(evidence.is_unseen(need) for need in check.needs):
                continue
            read = check.needs | check.also
            others = {need.value: NOT_COLLECTED for need in Need if need not in read}
            assert [
                (finding.severity, finding.cause, finding.nodes)
                for finding in check.find(replace(evidence, **others))  # type: ignore[arg-type]
            ] == [
                (finding.severity, finding.cause, finding.nodes) for finding in check.find(evidence)
            ], check.id


def test_every_check_has_a_case_that_it_finds() -> None:
    found = {
        finding["check"]
        for case in CASES
        for finding in read_json(case / "expected.json")["findings"]
    }
    assert found == {check.id for category in load_categories() for check in category.checks}


def test_finds_nothing_in_a_healthy_cluster() -> None:
    report = judge(load(Evidence, load_case(CASES[0].parent / "whole")), load_categories())
    assert report.findings == ()
    assert {result.outcome for result in report.results} == {"ok"}


def list_checks_that_fire(evidence: Any) -> set[str]:
    report = judge(load(Evidence, evidence), load_categories())
    return {finding.check for finding in report.findings}


def test_every_check_has_a_neighbor() -> None:
    quiet = {check for check, cases in NEIGHBORS.items() for each in cases if "fires" not in each}
    assert quiet == {check.id for category in load_categories() for check in category.checks}


@pytest.mark.parametrize(
    ("check", "neighbor"),
    [
        pytest.param(check, neighbor, id=f"{check}: {neighbor['why']}")
        for check, neighbors in NEIGHBORS.items()
        for neighbor in neighbors
    ],
)
def test_a_neighbor_of_a_case_is_judged_rightly(check: str, neighbor: Any) -> None:
    fires = neighbor.get("fires", False)
    assert (check in list_checks_that_fire(change_case(neighbor))) == fires
