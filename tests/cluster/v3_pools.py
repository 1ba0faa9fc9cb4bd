"""Pools in projectcalico.org/v3: alone there, or for somebody who may not read them in v1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirror.core.errors import RefusedError
from tests.cluster.calico.objects import render_v3_pool_crd
from tests.cluster.fix_lab import FixLab
from tests.cluster.node_fix_cluster import IPV6_POOL, POOL_SPEC, V3_POOL_KIND, NodeFixCluster
from tests.cluster.waiting import wait_for

RESOURCE = "ippools.projectcalico.org"
_V1, _OPERATOR = "crd.projectcalico.org", "operator.tigera.io"
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "newer"}


@contextmanager
def serve_v3_pools(fixable: FixLab, folder: Path) -> Iterator[FixLab]:
    """The lab's, for `mirror` as that user; all is taken away again at the end.

    Its CNI is Calico 3.28's, which knows the pools of v1 alone: they stay there for it.
    """
    kubectl, old = fixable.lab.kubectl, fixable.get("ippools.crd.projectcalico.org")["items"]
    kubectl("create", "-f", "-", stdin=render_v3_pool_crd())
    try:
        pools = [_copied(one) for one in old]
        made = json.dumps({"apiVersion": "v1", "kind": "List", "items": pools})
        create = ("create", "-f", "-")
        there = "pool.projectcalico.org/default-ipv6-ippool created"
        wait_for("them", lambda: there in kubectl(*create, stdin=made, check=False), timeout=30)
        kubectl(*create, stdin=json.dumps(_rights(kubectl("api-versions").split())))
        user = folder / "newer"
        config = yaml.safe_load(fixable.lab.kubeconfig.read_text())
        token = kubectl("create", "token", "newer", "-n", "default").strip()
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        user.write_text(yaml.safe_dump(config))
        yield replace(fixable, user=user)
    finally:
        kubectl("delete", "crd", RESOURCE)
        kubectl("delete", "clusterrole,clusterrolebinding", "newer", "--ignore-not-found")
        kubectl("delete", "serviceaccount", "newer", "-n", "default", "--ignore-not-found")


def read_specs(fixable: FixLab) -> dict[str, Any]:
    return {one["metadata"]["name"]: one["spec"] for one in fixable.get(RESOURCE)["items"]}


def _copied(pool: Any) -> Any:
    meta = {"name": pool["metadata"]["name"]}
    return {**pool, "apiVersion": "projectcalico.org/v3", "metadata": meta}


def _rights(versions: list[str]) -> Any:
    """Everything but the pools of v1."""
    groups = sorted({one.rpartition("/")[0] for one in versions} - {_V1} | {_OPERATOR})
    group, name = _ROLE["apiGroup"], {"name": "newer"}
    rules = [
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [_V1], "resources": ["felixconfigurations"], "verbs": ["list"]},
    ]
    account = {"kind": "ServiceAccount", "name": "newer", "namespace": "default"}
    items = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**name, "namespace": "default"},
        },
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": _ROLE,
            "subjects": [account],
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def check_pool_moved_to_v3(v3: NodeFixCluster) -> None:
    assert v3.read_state()["pool"][0]["disabled"] is True
    assert v3.read_fix_states()["ippool"] == "applied"
    v3.apply()
    v3.rollback()
    after = v3.read_state()
    assert after["pool"] == ({**POOL_SPEC, "assignmentMode": "Automatic"}, {"mine": "yes"})
    assert after["left"] == []


def check_v3_only(v3: NodeFixCluster) -> None:
    before = v3.read_state()
    v3.apply()
    assert (
        str(v3.make_engine().applied_changes("ippool")[-1].target) == f"{V3_POOL_KIND} {IPV6_POOL}"
    )
    off = ({**before["pool"][0], "disabled": True}, before["pool"][1])
    assert v3.read_state()["pool"] == off
    v3.edit_pool(disabled=None)
    assert v3.read_fix_states()["ippool"] == "drifted"
    (said,) = v3.reconcile_objects()
    assert said.startswith(f"/apis/projectcalico.org/v3/ippools/{IPV6_POOL}: fix ippool: reverted")
    assert v3.read_state()["pool"] == off
    v3.rollback()
    assert v3.read_state() == before
    v3.apply(delete=True)
    assert v3.read_state()["pool"] is None
    assert v3.reconcile_objects() == [], "it is away as it is to be"
    v3.rollback()
    assert v3.read_state() == before


def check_pool_with_finalizer(v3: NodeFixCluster) -> None:
    before = v3.read_state()

    def held_by(*names: str) -> None:
        v3.targets.connect().patch(
            V3_POOL_KIND, IPV6_POOL, None, {"metadata": {"finalizers": [*names]}}
        )

    held_by("projectcalico.org/ippool-finalizer")
    v3.apply(delete=True)
    assert v3.read_state()["pool"] is not None
    assert set(v3.read_fix_states().values()) == {"applied"}
    v3.apply(delete=True)
    assert v3.reconcile_objects() == []
    with pytest.raises(RefusedError, match="still being deleted") as refused:
        v3.rollback()
    assert "projectcalico.org/ippool-finalizer" in refused.value.why
    held_by()
    v3.rollback()
    assert v3.read_state() == before
