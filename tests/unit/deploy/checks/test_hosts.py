"""A node that a fix of all nodes has not reached is named."""

from __future__ import annotations

from dataclasses import replace

from deploy.checks.hosts import check_coverage
from deploy.evidence.hosts import ConflistFile
from deploy.formats.conflist import disable_ipv6
from tests.unit.deploy.fixes.sample_evidence import HOST, PATH, TEXT, make_evidence


def test_a_node_that_joined_since() -> None:
    seen = make_evidence()
    (first, *others) = seen.hosts if isinstance(seen.hosts, tuple) else ()
    tuned = replace(HOST, conflists=(ConflistFile(path=PATH, text=disable_ipv6(TEXT)),))
    (found,) = check_coverage(replace(seen, hosts=(replace(first, view=tuned), *others)))
    assert found.nodes == ("babel",)
    assert "new pods get IPv6 on babel" in found.cause
    assert list(check_coverage(seen)) == []
