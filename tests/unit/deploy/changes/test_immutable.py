"""Objects that cannot be changed in place, quotas, finalizers, and targets that are too large."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.changes.model import Change, ConfigMapKey, Edit, ObjectSpec
from deploy.cluster.client import ApiError
from deploy.fix_registry import build_engine
from mirror.core.errors import RefusedError
from tests.kubernetes_api import CALICO_V1, DirectCluster, KilledError, MemoryApi, on

POOL = ObjectSpec(kind="IPPool", name="default-ipv6-ippool")
DELETE = Edit(fix="ippool", options={"delete": True})
BASE = {"cidr": "fd00::/64", "natOutgoing": True}
NEW = {"cidr": "fd99::/64", "natOutgoing": True}
POOLS = "*/ippools/*"
KEY = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})


def seed_pool(api: MemoryApi, spec: Any, **metadata: Any) -> None:
    meta = {"name": POOL.name, **metadata}
    api.seed(
        {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": meta, "spec": spec}
    )


@pytest.fixture
def api() -> MemoryApi:
    """After `fix ippool --delete` and a calico-node that made the pool anew with another range."""
    api = MemoryApi(*CALICO_V1)
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    seed_pool(api, BASE, labels={"keep": "me"})
    apply(api)
    assert not api.has("IPPool", POOL.name)
    seed_pool(api, NEW)
    message = "spec.cidr: Invalid value: CIDR cannot be changed; follow IP pool migration guide"
    api.failures.refuse(on("PUT", POOLS), 422, "Invalid", message=message, times=None)
    return api


def apply(api: MemoryApi) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan([Change(target=POOL, edit=DELETE, why="")]):
            engine.apply(update)


def roll_back(api: MemoryApi, *, force: bool) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan_rollback(["ippool"]):
            engine.apply(update, force=force)


def test_force_deletes_it_and_creates_it_as_it_was(api: MemoryApi) -> None:
    with pytest.raises(RefusedError, match="was edited where the fix had changed it"):
        roll_back(api, force=False)
    assert api.read("IPPool", POOL.name)["spec"] == NEW
    roll_back(api, force=True)
    pool = api.read("IPPool", POOL.name)
    assert pool["spec"] == BASE
    assert pool["metadata"]["labels"] == {"keep": "me"}
    assert build_engine(DirectCluster(api)).entries() == []


def test_continues_after_a_kill_between_deletion_and_creation(api: MemoryApi) -> None:
    api.failures.kill(on("POST", "*/ippools"))
    with pytest.raises(KilledError):
        roll_back(api, force=True)
    api.failures.revive()
    api.remove("Lease", "pypi-mirror-changes", "kube-system")
    assert not api.has("IPPool", POOL.name)
    roll_back(api, force=True)
    assert api.read("IPPool", POOL.name)["spec"] == BASE


def test_without_force_the_command_is_named(api: MemoryApi) -> None:
    engine = build_engine(DirectCluster(api))
    (update,) = engine.plan_rollback(["ippool"])
    object.__setattr__(update, "conflicts", ())
    with pytest.raises(RefusedError, match="cannot be changed to what it was") as error:
        engine.apply(update)
    assert "CIDR cannot be changed" in error.value.why
    assert "--force" in error.value.next_step


def test_waits_for_the_finalizers_of_the_new_one(api: MemoryApi) -> None:
    api.edit("IPPool", POOL.name, "", lambda obj: obj["metadata"].update(finalizers=["x/y"]))
    with pytest.raises(RefusedError, match="still being deleted") as error:
        roll_back(api, force=True)
    assert "x/y" in error.value.why
    assert len(build_engine(DirectCluster(api)).entries()) == 1, "the copy is kept"


def test_a_quota_is_named_as_one() -> None:
    api = MemoryApi()
    message = 'configmaps "x" is forbidden: exceeded quota: maps, requested: count/configmaps=1'
    api.failures.refuse(on("POST", "*/configmaps"), 403, "Forbidden", message=message)
    with pytest.raises(ApiError) as error:
        DirectCluster(api).create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "d"}}
        )
    assert "ResourceQuota" in error.value.next_step
    assert "permission" not in error.value.next_step


@pytest.mark.parametrize("status", [400, 500, 504])
def test_a_webhook_that_refuses_or_times_out_leaves_the_copy_and_the_target(status: int) -> None:
    api = MemoryApi()
    api.seed(corefile(".:53 {\n    forward . 9.9.9.9\n}\n"))
    message = 'failed calling webhook "guard.example": context deadline exceeded'
    api.failures.refuse(on("PUT", "*/configmaps/coredns"), status, "InternalError", message=message)
    engine = build_engine(DirectCluster(api))
    before = api.read("ConfigMap", "coredns", "kube-system")
    with pytest.raises(ApiError, match="webhook") as error, engine.hold_lease():
        for update in engine.plan([Change(target=KEY, edit=DNS, why="")]):
            engine.apply(update)
    assert "guard.example" in error.value.why
    assert api.read("ConfigMap", "coredns", "kube-system") == before
    assert not api.has("Lease", "pypi-mirror-changes", "kube-system")
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan_rollback(["dns"]):
            engine.apply(update)
    assert engine.entries() == []
    assert api.read("ConfigMap", "coredns", "kube-system") == before


def corefile(text: str) -> Any:
    meta = {"name": "coredns", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}}


def test_a_target_that_does_not_fit_into_the_ledger_is_refused_before_the_write() -> None:
    api = MemoryApi()
    text = ".:53 {\n    forward . 9.9.9.9\n}\n" + "# a comment\n" * 60_000
    api.seed(corefile(text))
    engine = build_engine(DirectCluster(api))
    with pytest.raises(RefusedError, match="too large to be stored"), engine.hold_lease():
        for update in engine.plan([Change(target=KEY, edit=DNS, why="")]):
            engine.apply(update)
    stored = api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"]
    assert stored == text
    assert not [name for name in json.loads(json.dumps(list(api.dump()))) if "ledger" in name]
