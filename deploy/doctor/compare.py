"""What has changed from one report of `mirror doctor` to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.findings.model import DoctorReport, Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportChanges:
    """The findings that are new, and those that are no longer found."""

    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)


def compare_reports(before: DoctorReport, after: DoctorReport) -> ReportChanges:
    """Return the changes. What could not be observed this time is not gone."""
    unseen = {result.check for result in after.skipped}
    old, new = set(map(_identify, before.findings)), set(map(_identify, after.findings))
    return ReportChanges(
        new=tuple(each for each in after.findings if _identify(each) not in old),
        gone=tuple(
            each
            for each in before.findings
            if _identify(each) not in new and each.check not in unseen
        ),
    )


def _identify(finding: Finding) -> tuple[str, Severity, str]:
    """Return what makes it the same finding: its evidence has times and counts."""
    return finding.check, finding.severity, finding.cause
