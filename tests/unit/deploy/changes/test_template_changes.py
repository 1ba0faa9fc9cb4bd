"""Files that somebody writes from a template with a fix in it: what was there without the fix."""

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


def on_a_node(template: str) -> bytes:
    for word, value in (("__KUBERNETES_NODE_NAME__", "seth"), ("__CNI_MTU__", "1440")):
        template = template.replace(word, value)
    return template.encode()


def page(*, pending: bool = False) -> StoredEntry:
    key = ConfigMapKey(namespace="kube-system", name="calico-config", key="cni_network_config")
    made, old = FIXED.encode(), BASE.encode()
    written, intended = (old, made) if pending else (made, None)
    entry = LedgerEntry(
        target=key, base=old, edits=(), written=written, intended=intended, pending=pending
    )
    return StoredEntry(entry=entry, version="1")


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("brought", [False, True], ids=["before the fix", "with it"])
def test_a_node_that_joined(brought: bool, pending: bool) -> None:
    """Its base is what calico-node would have written without the fix."""
    text = on_a_node(FIXED if brought else BASE)
    assert initial_base(page(pending=pending), text).content == on_a_node(BASE)


def test_its_file_follows_the_template_back() -> None:
    assert apply_template_change(FIXED.encode(), BASE.encode(), on_a_node(FIXED)) == on_a_node(BASE)


@pytest.mark.parametrize("text", [b"{}", ONE_LINE.encode(), b"", None])
def test_a_file_of_another_kind_stays_as_it_is(text: bytes | None) -> None:
    assert apply_template_change(FIXED.encode(), BASE.encode(), text) == text
    assert initial_base(page(), text).content == text
    assert initial_base(None, text).content == text
