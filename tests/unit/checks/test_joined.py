"""A node that a fix of all nodes has not reached is named."""

from __future__ import annotations

from dataclasses import replace

from deploy.checks.hosts import covered
from deploy.evidence.host import Conflist
from deploy.formats.conflist import turn_ipv6_off
from tests.unit.fixes.seen import HOST, PATH, TEXT, evidence


def test_a_node_that_joined_since() -> None:
    seen = evidence()
    (first, *others) = seen.hosts if isinstance(seen.hosts, tuple) else ()
    tuned = replace(HOST, conflists=(Conflist(path=PATH, text=turn_ipv6_off(TEXT)),))
    (found,) = covered(replace(seen, hosts=(replace(first, view=tuned), *others)))
    assert found.nodes == ("babel",)
    assert "new pods get IPv6 on babel" in found.cause
    assert list(covered(seen)) == []
