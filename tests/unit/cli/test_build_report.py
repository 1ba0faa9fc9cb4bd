"""The report of a build: only what was proved gets a check mark."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.output.build_report import print_build_report
from images.proof import Outcome, ProofResult, SubjectOutcome, judge_proof
from images.report import OUTCOMES_LABEL, PROOF_LABEL, BuildReport, report_labels

REPORT = BuildReport(
    reference="hello:1",
    id="sha256:1",
    architecture="amd64",
    base="debian-python:1",
    size=1,
    layers=(),
    distributions=(),
    built_from_sdist=(),
    built_with=(),
    lock="uv.lock",
    lock_sha256="0" * 64,
    files_sha256="0" * 64,
    files=1,
)
STOPPED = tuple(
    SubjectOutcome(name=f"app.m{number}", outcome=Outcome.STOPPED, asked_for=("llm.example",))
    for number in range(9)
)
IMPORTS = ProofResult(check="imports", summary="1 modules import", faults=(), outcomes=STOPPED)
SERVED = SubjectOutcome(name="web", outcome=Outcome.SERVED)
STARTS = ProofResult(check="starts", summary="web serves", faults=(), outcomes=(SERVED,))


def with_proof(*proof: ProofResult, **fields: object) -> BuildReport:
    changed = replace(REPORT, proof=proof, proof_verdict=judge_proof(proof))
    return replace(changed, **fields)  # type: ignore[arg-type]


def print_report(report: BuildReport, capsys: pytest.CaptureFixture[str]) -> str:
    print_build_report(report, "", ())
    return " ".join(capsys.readouterr().out.split())


def test_a_passed_proof_has_check_marks_and_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    report = with_proof(IMPORTS, STARTS, mounts={"/app/x.yaml": "x.yaml.template"})
    text = print_report(report, capsys)
    assert "✓ web serves" in text
    assert "web: served" in text
    assert "stopped at a service: app.m0, app.m1, app.m2, app.m3, app.m4, …" in text
    assert "asked for llm.example" in text
    assert "/app/x.yaml at run time: the proof had a copy of x.yaml.template" in text
    labels = report_labels(report, "hello", "hello")
    assert labels[PROOF_LABEL] == "passed"
    assert labels[OUTCOMES_LABEL] == "modules: 9 stopped at a service; web: served"


def test_what_was_not_proved_gets_no_check_mark(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = ProofResult(check="imports", summary="no module to import", faults=())
    none = "the recipe has no start command: nothing was started"
    starts = ProofResult(check="starts", summary=none, faults=(), warnings=(none,))
    checks = ProofResult(check="checks", summary="", faults=())
    report = with_proof(nothing, checks, starts)
    text = print_report(report, capsys)
    assert "✓" not in text
    assert "– no module to import" in text
    assert f"! {none}" in text
    assert "the proof is incomplete" in text
    assert report_labels(report, "hello", "hello")[PROOF_LABEL] == "incomplete"


def test_no_proof_and_a_reused_one_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "proof none: --no-proof" in print_report(REPORT, capsys)
    reused = print_report(with_proof(replace(STARTS, reused=True)), capsys)
    assert "nothing it depends on has changed" in reused


def test_a_fault_outweighs_a_warning() -> None:
    assert judge_proof((replace(STARTS, faults=("x",), warnings=("y",)),)) == "failed"
    assert judge_proof(()) == "none"
