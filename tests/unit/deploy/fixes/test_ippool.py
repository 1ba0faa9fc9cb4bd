"""What ippool plans from evidence, and how it edits each target."""

from __future__ import annotations

import json
from dataclasses import replace

from deploy.changes.fix import Refusal
from deploy.changes.model import Edit, ObjectSpec
from deploy.evidence.hosts import ConflistFile, NodeHost
from deploy.evidence.unseen import Unseen
from deploy.fixes import ippool
from tests.unit.deploy.fixes.sample_evidence import (
    CALICO,
    HOST,
    PATH,
    POOLS,
    TEXT,
    expect_refusal,
    make_evidence,
    target_names,
)


def test_plans_everything_that_requests_addresses_before_the_pool() -> None:
    result = target_names(ippool.plan_changes(make_evidence(), {}, ()))
    assert result[0].startswith("ConfigMap")
    assert result[-1] == "IPPool default-ipv6-ippool"
    assert len(result) == 4


def test_refuses_to_delete_a_pool_in_use() -> None:
    refusal = expect_refusal(ippool.plan_changes(make_evidence(), {"delete": True}, ()))
    assert refusal.objects == ("chronicle/a has default-ipv6-ippool's address",)
    forced = ippool.plan_changes(make_evidence(), {"delete": True, "force-pool": True}, ())
    assert target_names(forced)[-2:] == [
        "DaemonSet kube-system/calico-node",
        "IPPool default-ipv6-ippool",
    ]


def test_does_nothing_without_calico_or_a_pool() -> None:
    assert expect_refusal(ippool.plan_changes(make_evidence(calico=None), {}, ())).needless
    quiet = TEXT.replace("true", "false")
    host = replace(HOST, conflists=(ConflistFile(path=PATH, text=quiet),))
    hosts = tuple(NodeHost(node=name, view=host) for name in ("anubis", "babel"))
    calico = replace(CALICO, config=quiet)
    seen = replace(make_evidence(ip_pools=POOLS[:1], calico=calico), hosts=hosts)
    assert expect_refusal(ippool.plan_changes(seen, {}, ())).needless


def test_refuses_if_pools_cannot_be_read() -> None:
    unseen = Unseen(reason="you may not list them")
    refusal = expect_refusal(ippool.plan_changes(make_evidence(ip_pools=unseen), {}, ()))
    assert "you may not list them" in refusal.reason
    etcd = replace(CALICO, etcd=("https://10.0.0.1:2379",))
    refusal = expect_refusal(
        ippool.plan_changes(make_evidence(ip_pools=unseen, calico=etcd), {}, ())
    )
    assert not refusal.needless
    assert "calicoctl" in refusal.next_step


def test_pool_needs_a_proof_first_and_files_have_a_template() -> None:
    result = ippool.plan_changes(make_evidence(), {}, ())
    assert not isinstance(result, Refusal)
    assert [change.needs_proof_first for change in result] == [False, False, False, True]
    assert [change.template for change in result] == [
        None,
        result[0].target,
        result[0].target,
        None,
    ]


def test_stops_requests_for_a_pool_that_was_deleted_by_hand() -> None:
    assert len(target_names(ippool.plan_changes(make_evidence(ip_pools=POOLS[:1]), {}, ()))) == 3


def test_plans_the_same_again() -> None:
    first = ippool.plan_changes(make_evidence(), {}, ())
    assert not isinstance(first, Refusal)
    off = (POOLS[0], replace(POOLS[1], disabled=True))
    assert target_names(
        ippool.plan_changes(make_evidence(ip_pools=off), {}, first)
    ) == target_names(first)


def test_disables_a_pool_and_keeps_its_other_fields() -> None:
    spec = {"cidr": "FD70:8823:7283:0::/48", "blockSize": 122, "natOutgoing": False}
    target = ObjectSpec(kind="IPPool", name="p")
    edit = Edit(fix="ippool", options={"delete": False})
    after = ippool.edit(edit, target, json.dumps(spec).encode())
    assert after is not None
    assert json.loads(after) == {**spec, "disabled": True}
    assert ippool.edit(Edit(fix="ippool", options={"delete": True}), target, b"{}") is None


def test_configures_calico_node_not_to_create_pools() -> None:
    env = [
        {"name": "IP6", "value": "autodetect"},
        {"name": "CALICO_IPV4POOL_CIDR", "value": "10.1.0.0/16"},
        {"name": "CALICO_IPV6POOL_CIDR", "value": "fd70::/48"},
        {"name": "FELIX_X", "value": "1"},
    ]
    spec = {"template": {"spec": {"containers": [{"name": "calico-node", "env": env}]}}}
    target = ObjectSpec(kind="DaemonSet", namespace="kube-system", name="calico-node")
    after = ippool.edit(
        Edit(fix="ippool", options={"delete": False}), target, json.dumps(spec).encode()
    )
    assert after is not None
    assert json.loads(after)["template"]["spec"]["containers"][0]["env"] == [
        {"name": "FELIX_X", "value": "1"},
        {"name": "NO_DEFAULT_POOLS", "value": "true"},
        {"name": "IP6", "value": "none"},
    ]


def test_changes_a_pool_through_the_api_that_has_it() -> None:
    v3 = tuple(replace(pool, kind="IPPool.projectcalico.org") for pool in POOLS)
    first = ippool.plan_changes(make_evidence(ip_pools=v3), {}, ())
    assert not isinstance(first, Refusal)
    assert target_names(first)[-1] == "IPPool.projectcalico.org default-ipv6-ippool"
    again = ippool.plan_changes(make_evidence(), {}, first)
    assert target_names(again) == target_names(first), (
        "a change through one API continues through it"
    )
    after = ippool.edit(first[-1].edit, first[-1].target, b'{"cidr":"fd70::/48"}')
    assert after is not None
    assert json.loads(after) == {"cidr": "fd70::/48", "disabled": True}


def test_refuses_to_delete_a_pool_that_something_asks_for_by_name() -> None:
    """calico-ipam looks names up even if it assigns no IPv6 address."""
    named = TEXT.replace('"assign_ipv6"', '"ipv6_pools": ["default-ipv6-ippool"], "assign_ipv6"')
    host = replace(HOST, conflists=(ConflistFile(path=PATH, text=named),))
    pool = replace(POOLS[1], pods=(), named_by=("namespace media", "pod media/streamer"))
    seen = make_evidence(host, ip_pools=(POOLS[0], pool), calico=replace(CALICO, config=named))
    for options in ({"delete": True}, {"delete": True, "force-pool": True}):
        refusal = expect_refusal(ippool.plan_changes(seen, options, ()))
        assert refusal.objects == (
            "namespace media asks for default-ipv6-ippool",
            "pod media/streamer asks for default-ipv6-ippool",
            f"babel:{PATH} asks for default-ipv6-ippool",
            "ConfigMap calico-config asks for default-ipv6-ippool",
        )
    assert len(target_names(ippool.plan_changes(seen, {}, ()))) == 4, "disabled, it harms nothing"


def test_other_pools_may_be_asked_for_by_name() -> None:
    named = TEXT.replace('"assign_ipv6"', '"ipv6_pools": ["fd01::/64", "other"], "assign_ipv6"')
    pool = replace(POOLS[1], pods=())
    seen = make_evidence(ip_pools=(POOLS[0], pool), calico=replace(CALICO, config=named))
    assert len(target_names(ippool.plan_changes(seen, {"delete": True}, ()))) == 5
