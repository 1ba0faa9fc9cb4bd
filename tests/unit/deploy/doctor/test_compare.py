"""What has changed from one report to the next."""

from __future__ import annotations

from dataclasses import replace

from deploy.doctor.compare import compare_reports
from deploy.findings.model import CheckResult, DoctorReport, Finding, Severity, error


def build_finding(cause: str, check: str = "dns.egress", *evidence: str) -> Finding:
    return replace(error(cause, evidence=evidence), check=check)


def build_report(*findings: Finding, skipped: tuple[str, ...] = ()) -> DoctorReport:
    results = tuple(
        CheckResult(category="dns", check=check, fact="", outcome="skipped") for check in skipped
    )
    return DoctorReport(context="c", results=results, findings=findings)


A, B = build_finding("a is broken"), build_finding("b is broken")


def test_names_what_is_new_and_what_is_gone() -> None:
    changes = compare_reports(build_report(A), build_report(B))
    assert (changes.new, changes.gone) == ((B,), (A,))
    assert changes


def test_other_evidence_is_no_change() -> None:
    later = build_finding("a is broken", "dns.egress", "4 restarts")
    assert not compare_reports(build_report(A), build_report(later))


def test_a_worse_severity_is_a_change() -> None:
    note = replace(A, severity=Severity.NOTE)
    changes = compare_reports(build_report(note), build_report(A))
    assert (changes.new, changes.gone) == ((A,), (note,))


def test_what_was_not_observed_is_not_gone() -> None:
    assert not compare_reports(build_report(A), build_report(skipped=("dns.egress",)))
    assert compare_reports(build_report(A), build_report(skipped=("dns.names",))).gone == (A,)
