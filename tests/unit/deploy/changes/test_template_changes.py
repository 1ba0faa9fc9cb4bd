"""Files that another program renders from a template with a fix: their base has no fix."""

from __future__ import annotations

import json

import pytest

from deploy.changes.ledger import StoredEntry
from deploy.changes.model import ConfigMapKey, LedgerEntry
from deploy.changes.update import apply_template_change, initial_base
from deploy.formats.conflist import disable_ipv6, stop_assigning_ipv6
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE

BASE = CNI_CONFIG_TEMPLATE % "true"
FIXED = stop_assigning_ipv6(disable_ipv6(BASE))
ONE_LINE = json.dumps(json.loads(BASE.replace("__CNI_MTU__", "1")))


def render(template: str) -> bytes:
    for placeholder, value in (("__KUBERNETES_NODE_NAME__", "seth"), ("__CNI_MTU__", "1440")):
        template = template.replace(placeholder, value)
    return template.encode()


def stored_template(*, pending: bool = False) -> StoredEntry:
    key = ConfigMapKey(namespace="kube-system", name="calico-config", key="cni_network_config")
    fixed, old = FIXED.encode(), BASE.encode()
    written, intended = (old, fixed) if pending else (fixed, None)
    entry = LedgerEntry(
        target=key, base=old, edits=(), written=written, intended=intended, pending=pending
    )
    return StoredEntry(entry=entry, version="1")


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("fixed", [False, True], ids=["before the fix", "with it"])
def test_base_of_a_node_that_joined_has_no_fix(fixed: bool, pending: bool) -> None:
    """It is what calico-node would have written without the fix."""
    text = render(FIXED if fixed else BASE)
    assert initial_base(stored_template(pending=pending), text).content == render(BASE)


def test_applies_the_rollback_of_the_template_to_a_file() -> None:
    assert apply_template_change(FIXED.encode(), BASE.encode(), render(FIXED)) == render(BASE)


@pytest.mark.parametrize("text", [b"{}", ONE_LINE.encode(), b"", None])
def test_keeps_a_file_that_does_not_match_the_template(text: bytes | None) -> None:
    assert apply_template_change(FIXED.encode(), BASE.encode(), text) == text
    assert initial_base(stored_template(), text).content == text
    assert initial_base(None, text).content == text
