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
from tests.cluster.calico.objects import render_v3_pools
from tests.cluster.fixable import Fixable
from tests.cluster.node_field import POOL, SIX, V3, Field
from tests.cluster.waiting import wait_for

RESOURCE = "ippools.projectcalico.org"
_V1, _OPERATOR = "crd.projectcalico.org", "operator.tigera.io"
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "newer"}


@contextmanager
def shown(fixable: Fixable, folder: Path) -> Iterator[Fixable]:
    """The lab's, for `mirror` as that user; all is taken away again at the end.

    Its CNI is Calico 3.28's, which knows the pools of v1 alone: they stay there for it.
    """
    kubectl, old = fixable.lab.kubectl, fixable.get("ippools.crd.projectcalico.org")["items"]
    kubectl("create", "-f", "-", stdin=render_v3_pools())
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


def specs(fixable: Fixable) -> dict[str, Any]:
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


def check_moved(v3: Field) -> None:
    assert v3.state()["pool"][0]["disabled"] is True
    assert v3.stand()["ippool"] == "applied"
    v3.apply()
    v3.rollback()
    after = v3.state()
    assert after["pool"] == ({**POOL, "assignmentMode": "Automatic"}, {"mine": "yes"})
    assert after["left"] == []


def check_alone(v3: Field) -> None:
    before = v3.state()
    v3.apply()
    assert str(v3.engine().held("ippool")[-1].target) == f"{V3} {SIX}"
    off = ({**before["pool"][0], "disabled": True}, before["pool"][1])
    assert v3.state()["pool"] == off
    v3.edit_pool(disabled=None)
    assert v3.stand()["ippool"] == "drifted"
    (said,) = v3.keep_objects()
    assert said.startswith(f"/apis/projectcalico.org/v3/ippools/{SIX}: fix ippool: changed back")
    assert v3.state()["pool"] == off
    v3.rollback()
    assert v3.state() == before
    v3.apply(delete=True)
    assert v3.state()["pool"] is None
    assert v3.keep_objects() == [], "it is away as it is to be"
    v3.rollback()
    assert v3.state() == before


def check_held_back(v3: Field) -> None:
    before = v3.state()

    def held_by(*names: str) -> None:
        v3.world.cluster().patch(V3, SIX, None, {"metadata": {"finalizers": [*names]}})

    held_by("projectcalico.org/ippool-finalizer")
    v3.apply(delete=True)
    assert v3.state()["pool"] is not None
    assert set(v3.stand().values()) == {"applied"}
    v3.apply(delete=True)
    assert v3.keep_objects() == []
    with pytest.raises(RefusedError, match="still being deleted") as refused:
        v3.rollback()
    assert "projectcalico.org/ippool-finalizer" in refused.value.why
    held_by()
    v3.rollback()
    assert v3.state() == before
