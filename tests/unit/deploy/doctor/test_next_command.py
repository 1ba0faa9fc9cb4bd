"""The one command that `mirror doctor` ends with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.doctor.next_command import choose_next_command
from deploy.evidence.mirror import MirrorState
from deploy.evidence.model import Evidence
from deploy.findings.model import Finding, Remedy, error, note, warning

EVIDENCE = Evidence(context="c", server="s", taken="")
MIRROR = MirrorState(namespace="pypi-mirror", ready=True)
PUBLISH = "mirror up && mirror env --publish NAMESPACE"


def finding(*commands: str, check: str = "dns.egress") -> Finding:
    remedies = (Remedy("text", "cluster", command) for command in commands)
    return replace(error("cause", *remedies), check=check)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ((), "mirror doctor --explain dns.egress"),
        (("",), "mirror doctor --explain dns.egress"),
        (("build-image PATH",), "mirror doctor --explain dns.egress"),
        (("mirror fix dns",), "mirror fix dns"),
        (("mirror attach deployment/NAME -n NAMESPACE", "mirror fix dns"), "mirror fix dns"),
        (("build-image PATH", "a && b"), "a && b"),
        ((PUBLISH, "mirror fix dns"), "mirror up"),
        (("mirror attach deployment/web -n shop",), "mirror attach deployment/web -n shop"),
    ],
)
def test_takes_the_first_command_that_can_be_pasted(
    commands: tuple[str, ...], expected: str
) -> None:
    assert choose_next_command([finding(*commands)], EVIDENCE) == expected


def test_gives_no_command_if_nothing_was_found() -> None:
    assert choose_next_command([], EVIDENCE) == ""


def test_does_not_start_a_mirror_that_runs() -> None:
    seen = replace(EVIDENCE, mirror=MIRROR)
    assert choose_next_command([finding(PUBLISH, "mirror fix dns")], seen) == "mirror fix dns"
    publish = PUBLISH.replace("NAMESPACE", "shop")
    assert choose_next_command([finding(publish)], seen) == "mirror env --publish shop"
    assert choose_next_command([finding("mirror up")], seen) == "mirror up", "its only remedy"
    stopped = replace(EVIDENCE, mirror=replace(MIRROR, ready=False))
    assert choose_next_command([finding(publish)], stopped) == publish


def test_passes_over_what_does_not_suffice() -> None:
    tried = Remedy("text", "workload", "mirror fix search-domains", insufficient=True)
    found = replace(error("cause", tried, Remedy("text", "cluster", "mirror fix dns")), check="a.b")
    assert choose_next_command([found], EVIDENCE) == "mirror fix dns"


def test_the_worst_finding_comes_first_and_workloads_before_the_cluster() -> None:
    cluster, workload = finding("one"), finding("two", check="workloads.failing")
    assert choose_next_command([cluster, workload], EVIDENCE) == "two"
    slight = replace(
        warning("cause", Remedy("text", "workload", "three")), check="workloads.mirror"
    )
    assert choose_next_command([slight, cluster], EVIDENCE) == "one"
    least = replace(note("cause", Remedy("text", "workload", "four")), check="workloads.other")
    assert choose_next_command([least, slight], EVIDENCE) == "three"
