"""The runner: it knows nothing of the checks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.diagnose import Category, categories, judge
from deploy.evidence.model import (
    Check,
    Evidence,
    Finding,
    Mend,
    Need,
    NodeDns,
    Severity,
    Unseen,
)
from mirror.core.errors import InputError

NOTHING = Evidence(context="c", server="s", taken="t")
SOME = Evidence(context="c", server="s", taken="t", nodes=(), dns_service=None)


def finding(severity: Severity = Severity.ERROR) -> Finding:
    mend = Mend(text="mend it", reach="workload")
    return Finding(check="x", severity=severity, cause="broken", mends=(mend,))


def finds(_: Evidence) -> Iterator[Finding]:
    yield finding()


def fine(_: Evidence) -> Iterator[Finding]:
    return iter(())


def never(_: Evidence) -> Iterator[Finding]:
    raise AssertionError("looked at what was not seen")


def check(id_: str, look: object, *needs: Need, fatal: bool = False) -> Check:
    return Check(id=id_, fact=id_, needs=frozenset(needs), look=look, fatal=fatal)  # type: ignore[arg-type]


def run(evidence: Evidence, *checks: Check) -> list[tuple[str, tuple[str, ...]]]:
    report = judge(evidence, (Category(name="c", checks=checks),))
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
    assert outcomes == [("found", ()), ("skipped", ("not looked at, because of a",))]


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

    report = judge(SOME, (Category(name="c", checks=(check("a", several, Need.NODES),)),))
    assert [one.severity for one in report.findings] == ["error", "warning", "note"]
    assert report.worst() is Severity.ERROR
    assert judge(NOTHING, ()).worst() is None


def test_categories_are_found_by_being_there() -> None:
    names = [one.name for one in categories()]
    assert names[:3] == ["api", "nodes", "dns"], "in the order of their ranks"
    assert {"ipv6", "ippools", "cni", "mirror", "workloads", "downloads"} <= set(names)
    assert categories(("dns",), stage="before") == (Category(name="dns", checks=()),)
    with pytest.raises(InputError, match="no category 'dsn'"):
        categories(("dsn",))


def test_checks_have_names_of_their_own() -> None:
    checks = [one for category in categories() for one in category.checks]
    assert len({one.id for one in checks}) == len(checks)
    for category in categories():
        assert all(one.id.startswith(f"{category.name}.") for one in category.checks)
