"""The runner: it knows nothing of the checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.doctor.run import CheckCategory, judge, load_categories
from deploy.evidence.dns import NodeDns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from mirror.core.errors import InputError

NOTHING = Evidence(context="c", server="s", taken="t")
SOME = Evidence(context="c", server="s", taken="t", nodes=(), dns_service=None)


def finding(severity: Severity = Severity.ERROR) -> Finding:
    mend = Remedy(text="mend it", scope="workload")
    return Finding(check="x", severity=severity, cause="broken", remedies=(mend,))


def finds(_: Evidence) -> Iterator[Finding]:
    yield finding()


def fine(_: Evidence) -> Iterator[Finding]:
    return iter(())


def never(_: Evidence) -> Iterator[Finding]:
    raise AssertionError("looked at what was not seen")


def check(id_: str, look: object, *needs: Need, fatal: bool = False) -> DoctorCheck:
    return DoctorCheck(id=id_, fact=id_, needs=frozenset(needs), find=look, fatal=fatal)  # type: ignore[arg-type]


def run(evidence: Evidence, *checks: DoctorCheck) -> list[tuple[str, tuple[str, ...]]]:
    report = judge(evidence, (CheckCategory(name="c", checks=checks),))
    return [(one.outcome, one.gaps) for one in report.results]


def test_ok_found_and_skipped() -> None:
    assert run(
        SOME,
        check("a", fine, Need.NODES),
        check("b", finds, Need.NODES),
        check("c", never, Need.NODES, Need.COREFILE),
    ) == [("ok", ()), ("found", ()), ("skipped", ("no check asked for it",))]


def test_after_a_fatal_finding_the_rest_is_skipped() -> None:
    outcomes = run(SOME, check("a", finds, Need.NODES, fatal=True), check("b", never, Need.NODES))
    assert outcomes == [("found", ()), ("skipped", ("skipped because of a",))]


def test_nodes_that_were_not_seen_keep_a_check_from_being_ok() -> None:
    views = (
        NodeDns(node="ra", view=Unseen(reason="no image")),
        NodeDns(node="babel", view="a view"),  # type: ignore[arg-type]
    )
    partly = Evidence(context="c", server="s", taken="t", pod_dns=views)
    assert run(partly, check("a", fine, Need.POD_DNS)) == [("skipped", ("ra: no image",))]
    assert run(partly, check("a", finds, Need.POD_DNS)) == [("found", ("ra: no image",))]


def test_the_worst_comes_first() -> None:
    def several(_: Evidence) -> Iterator[Finding]:
        yield from (finding(Severity.NOTE), finding(Severity.ERROR), finding(Severity.WARNING))

    report = judge(SOME, (CheckCategory(name="c", checks=(check("a", several, Need.NODES),)),))
    assert [one.severity for one in report.findings] == ["error", "warning", "note"]
    assert report.worst_severity() is Severity.ERROR
    assert judge(NOTHING, ()).worst_severity() is None


def test_categories_are_found_by_being_there() -> None:
    names = [one.name for one in load_categories()]
    assert names[:3] == ["api", "nodes", "dns"], "in the order of their ranks"
    assert {"ipv6", "ippools", "cni", "mirror", "workloads", "downloads"} <= set(names)
    assert [category.name for category in load_categories(("dns",))] == ["dns"]
    with pytest.raises(InputError, match="no category 'dsn'"):
        load_categories(("dsn",))


def test_checks_have_names_of_their_own() -> None:
    checks = [one for category in load_categories() for one in category.checks]
    assert len({one.id for one in checks}) == len(checks)
    for category in load_categories():
        assert all(one.id.startswith(f"{category.name}.") for one in category.checks)
