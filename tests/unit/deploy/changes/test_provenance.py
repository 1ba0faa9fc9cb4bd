"""Entries that a writer of ConfigMaps in kube-system forges are told from those of the fixes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.changes.attachment import AttachmentEditor
from deploy.changes.model import (
    AppliedEdit,
    ConfigMapKey,
    Edit,
    LedgerEntry,
    NodeFile,
    NodeSysctl,
    ObjectSpec,
    Target,
)
from deploy.changes.provenance import find_flaw
from deploy.fix_registry import load_editors, load_fixes
from mirror.merge import encode_spec
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE

EDITORS = load_editors()
CONFLIST = NodeFile(node="ra", path="/etc/cni/net.d/10-calico.conflist")
BOOT_FILE = NodeFile(node="ra", path="/etc/sysctl.d/zz-pypi-mirror-ipv6.conf")
POOL = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")
CALICO_NODE = ObjectSpec(kind="DaemonSet", name="calico-node", namespace="kube-system")
WEB = ObjectSpec(kind="Deployment", name="web", namespace="shop")
OPTIONS: dict[str, Any] = {"ippool": {"delete": False}, "attach": {"index": True, "ndots": True}}
PLUGINS = json.loads((CNI_CONFIG_TEMPLATE % "true").replace("__CNI_MTU__", "1440"))


def applied(fix: str) -> AppliedEdit:
    return AppliedEdit(edit=Edit(fix=fix, options=OPTIONS.get(fix, {})), step=1, steps=1)


def made_by(target: Target, base: bytes | None, *fixes: str) -> LedgerEntry:
    """Return the entry that these fixes make of a target with this content."""
    edits = tuple(map(applied, fixes))
    content = base
    for each in edits:
        content = EDITORS[each.edit.fix].edit(each.edit, target, content)
    return LedgerEntry(target=target, base=base, edits=edits, written=content)


def conflist(**changes: Any) -> bytes:
    return json.dumps({**PLUGINS, **changes}, indent=2).encode()


def calico_node(image: str = "calico", **env: str) -> bytes:
    variables = [{"name": name, "value": value} for name, value in env.items()]
    container = {"name": "calico-node", "image": image, "env": variables}
    return encode_spec({"template": {"spec": {"containers": [container]}}})


@pytest.mark.parametrize(
    "entry",
    [
        made_by(CONFLIST, conflist(), "pod-sysctl", "ippool"),
        made_by(BOOT_FILE, None, "host-sysctl"),
        made_by(POOL, encode_spec({"cidr": "fd00::/64"}), "ippool"),
        made_by(CALICO_NODE, calico_node(IP6="autodetect"), "host-sysctl", "ippool"),
        made_by(NodeSysctl(node="ra", key="net.ipv6.conf.all.disable_ipv6"), b"0\n", "host-sysctl"),
    ],
    ids=lambda entry: str(entry.target),
)
def test_accepts_what_fixes_make(entry: LedgerEntry) -> None:
    assert find_flaw(entry, EDITORS) == ""
    interrupted = LedgerEntry(
        target=entry.target,
        base=entry.base,
        edits=(),
        written=entry.written,
        intended=entry.base,
        pending=True,
    )
    assert find_flaw(interrupted, EDITORS) == "", "a rollback that 0.1.0 did not finish"


@pytest.mark.parametrize(
    "target",
    [
        NodeFile(node="ra", path="/etc/cron.d/evil"),
        NodeFile(node="ra", path="/etc/ld.so.preload"),
        NodeFile(node="ra", path="/etc/cni/net.d/../../cron.d/evil.conflist"),
        NodeFile(node="ra", path="/etc/sysctl.d/evil.conf"),
        NodeSysctl(node="ra", key="net.ipv4.ip_forward"),
        NodeSysctl(node="ra", key="kernel.core_pattern"),
        ObjectSpec(kind="DaemonSet", name="evil", namespace="kube-system"),
        ObjectSpec(kind="ClusterRoleBinding", name="evil"),
        ObjectSpec(kind="Secret", name="evil", namespace="kube-system"),
        ConfigMapKey(namespace="shop", name="settings", key="x"),
        WEB,
    ],
    ids=str,
)
@pytest.mark.parametrize("fix", [*load_fixes(), ""])
def test_refuses_a_target_that_the_fix_never_changes(target: Target, fix: str) -> None:
    edits = (applied(fix),) if fix else ()
    entry = LedgerEntry(target=target, base=b"evil", edits=edits, written=b"now", pending=not fix)
    flaw = find_flaw(entry, EDITORS)
    if fix or not AttachmentEditor().may_target(target):
        assert "never changes" in flaw
    else:
        assert "explains" in flaw, "any workload may be attached, so its contents decide"


def forged_plugin() -> bytes:
    return conflist(plugins=[*PLUGINS["plugins"], {"type": "evil"}])


def forged_pod() -> bytes:
    pod = {"hostPID": True, "containers": [{"name": "main", "image": "evil"}]}
    return encode_spec({"template": {"spec": pod}})


PLAIN_POD = encode_spec({"template": {"spec": {"containers": [{"name": "main", "image": "ok"}]}}})


@pytest.mark.parametrize("unfinished", [False, True], ids=["applied", "rollback not finished"])
@pytest.mark.parametrize(
    ("entry", "base"),
    [
        (made_by(CONFLIST, conflist(), "pod-sysctl"), forged_plugin()),
        (made_by(CONFLIST, conflist(), "ippool"), conflist(cniVersion="9")),
        (made_by(BOOT_FILE, None, "host-sysctl"), b"kernel.core_pattern = |/tmp/evil\n"),
        (made_by(CALICO_NODE, calico_node(IP6="autodetect"), "host-sysctl"), calico_node("evil")),
        (made_by(POOL, encode_spec({"cidr": "fd00::/64"}), "ippool"), b'{"cidr": "10.0.0.0/8"}'),
        (made_by(POOL, encode_spec({"cidr": "fd00::/64"}), "ippool"), b'{"cidr": "fd01::/64"}'),
        (made_by(WEB, PLAIN_POD, "attach"), forged_pod()),
        (
            made_by(
                NodeSysctl(node="r", key="net.ipv6.conf.all.disable_ipv6"), b"0\n", "host-sysctl"
            ),
            b"2\n",
        ),
    ],
    ids=lambda value: str(value.target) if isinstance(value, LedgerEntry) else "",
)
def test_refuses_an_original_that_the_fix_cannot_have_found(
    entry: LedgerEntry, base: bytes, unfinished: bool
) -> None:
    """With the content of the target as it is now, which a rollback would replace by the base."""
    forged = LedgerEntry(
        target=entry.target,
        base=base,
        edits=() if unfinished else entry.edits,
        written=entry.written,
        intended=base if unfinished else None,
        pending=unfinished,
    )
    assert find_flaw(forged, EDITORS) != ""


def test_refuses_an_ipv4_pool_that_an_administrator_disabled() -> None:
    """Its contents would be explained: the fix disables pools, but only those of IPv6."""
    forged = made_by(POOL, encode_spec({"cidr": "10.0.0.0/8"}), "ippool")
    assert "can have had" in find_flaw(forged, EDITORS)


def test_every_fix_says_what_it_changes() -> None:
    """A new fix without it would let a forged entry write anything."""
    everything = NodeFile(node="ra", path="/anything")
    assert [name for name, fix in load_fixes().items() if fix.may_target(everything)] == []
