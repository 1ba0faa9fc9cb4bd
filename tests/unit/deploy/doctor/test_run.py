"""Running checks over evidence; the checks themselves are tested with saved cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from deploy.doctor.run import CheckCategory, judge, load_categories, observe
from deploy.evidence.collect import CollectOptions
from deploy.evidence.dns import NodeDns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import NOT_COLLECTED, Unseen
from deploy.findings.model import READ, SEEN, DoctorCheck, Finding, Remedy, Severity, check
from mirror.core.errors import InputError
from tests.kubernetes_api import DirectCluster, MemoryApi

EVIDENCE = Evidence(context="c", server="s", taken="t", nodes=(), dns_service=None)


def build_finding(severity: Severity = Severity.ERROR) -> Finding:
    remedy = Remedy(text="fix it", scope="workload")
    return Finding(severity=severity, cause="broken", remedies=(remedy,))


def find_one(_: Evidence) -> Iterator[Finding]:
    yield build_finding()


def find_nothing(_: Evidence) -> Iterator[Finding]:
    return iter(())


def must_not_run(_: Evidence) -> Iterator[Finding]:
    raise AssertionError("ran without the evidence it needs")


def build_check(
    check_id: str, find: Callable[[Evidence], Iterator[Finding]], *needs: Need
) -> DoctorCheck:
    return check(check_id, check_id, READ, *needs)(find)


def run(evidence: Evidence, *checks: DoctorCheck) -> list[tuple[str, tuple[str, ...]]]:
    report = judge(evidence, (CheckCategory(name="c", checks=checks),))
    return [(result.outcome, result.gaps) for result in report.results]


def test_a_check_is_ok_found_or_skipped() -> None:
    assert run(
        EVIDENCE,
        build_check("a", find_nothing, Need.NODES),
        build_check("b", find_one, Need.NODES),
        build_check("c", must_not_run, Need.NODES, Need.COREFILE),
    ) == [("ok", ()), ("found", ()), ("skipped", ("no check asked for it",))]


def test_a_check_is_not_ok_if_a_node_was_not_seen() -> None:
    views = (
        NodeDns(node="ra", view=Unseen(reason="no image")),
        NodeDns(node="babel", view="a view"),  # type: ignore[arg-type]
    )
    evidence = Evidence(context="c", server="s", taken="t", pod_dns=views)
    gaps = ("ra: no image",)
    assert run(evidence, build_check("a", find_nothing, Need.POD_DNS)) == [("skipped", gaps)]
    assert run(evidence, build_check("a", find_one, Need.POD_DNS)) == [("found", gaps)]


def test_sorts_findings_by_severity() -> None:
    def find_several(_: Evidence) -> Iterator[Finding]:
        for severity in (Severity.NOTE, Severity.ERROR, Severity.WARNING):
            yield build_finding(severity)

    checks = (build_check("a", find_several, Need.NODES),)
    report = judge(EVIDENCE, (CheckCategory(name="c", checks=checks),))
    assert [finding.severity for finding in report.findings] == ["error", "warning", "note"]
    assert {finding.check for finding in report.findings} == {"a"}


def test_a_finding_is_as_sure_as_its_check_unless_it_says_otherwise() -> None:
    def find_two(_: Evidence) -> Iterator[Finding]:
        yield build_finding()
        yield replace(build_finding(), certainty=SEEN)

    checks = (build_check("a", find_two, Need.NODES),)
    report = judge(EVIDENCE, (CheckCategory(name="c", checks=checks),))
    assert [finding.certainty for finding in report.findings] == ["read", "seen"]


def test_loads_all_categories_by_rank() -> None:
    names = [category.name for category in load_categories()]
    assert names[:3] == ["api", "nodes", "dns"]
    assert {"ipv6", "ippools", "cni", "mirror", "workloads", "downloads"} <= set(names)


def test_loads_named_categories() -> None:
    assert [category.name for category in load_categories(("dns",))] == ["dns"]
    with pytest.raises(InputError, match="no category 'dsn'"):
        load_categories(("dsn",))


def test_check_ids_are_unique_and_start_with_their_category() -> None:
    ids = [each.id for category in load_categories() for each in category.checks]
    assert len(set(ids)) == len(ids)
    for category in load_categories():
        assert all(each.id.startswith(f"{category.name}.") for each in category.checks)


def test_every_subject_that_a_check_needs_is_collected() -> None:
    cluster = DirectCluster(MemoryApi())
    evidence = observe(cluster, load_categories(), CollectOptions(namespace="tools"))
    missing = {need for need in Need if getattr(evidence, need.value) == NOT_COLLECTED}
    assert missing == {Need.COREDNS, Need.API_ADDRESSES}, "only the fixes need these"
    needed = {need for c in load_categories() for each in c.checks for need in each.needs}
    assert set(Need) - needed == missing
