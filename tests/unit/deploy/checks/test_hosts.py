"""Checks of the nodes' hosts that need more than saved evidence."""

from __future__ import annotations

from dataclasses import replace

from deploy.checks.hosts import check_coverage, check_refused
from deploy.evidence.hosts import ConflistFile
from deploy.formats.conflist import disable_ipv6
from tests.unit.deploy.fixes.sample_evidence import HOST, PATH, TEXT, make_evidence


def test_names_a_node_that_joined_after_a_fix() -> None:
    evidence = make_evidence()
    (first, *others) = evidence.hosts if isinstance(evidence.hosts, tuple) else ()
    fixed = replace(HOST, conflists=(ConflistFile(path=PATH, text=disable_ipv6(TEXT)),))
    hosts = (replace(first, view=fixed), *others)
    (finding,) = check_coverage.find(replace(evidence, hosts=hosts))
    assert finding.nodes == ("babel",)
    assert "new pods get IPv6 on babel" in finding.cause
    assert list(check_coverage.find(evidence)) == []


def test_names_what_an_agent_refuses() -> None:
    refused = replace(HOST, rejected=("a node default is not obeyed: '/etc/cron.d/x'",))
    (finding,) = check_refused.find(make_evidence(host=refused))
    assert finding.nodes == ("babel",)
    assert finding.evidence == ("babel: a node default is not obeyed: '/etc/cron.d/x'",)
    assert "refuses what it was told on babel" in finding.cause
    assert list(check_refused.find(make_evidence())) == []
