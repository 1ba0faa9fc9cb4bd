"""A workload that a fix removed is created again only from the copy that was stored then."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.changes.ledger import Ledger
from deploy.changes.model import Change, Edit, ObjectSpec
from deploy.fix_registry import build_engine
from deploy.repair.node_agents import remove_idle_agents
from mirror.core.errors import RefusedError
from tests.kubernetes_api import DirectCluster, MemoryApi

SYSTEM = "kube-system"
RUNBOOK = ObjectSpec(kind="DaemonSet", name="disable-ipv6", namespace=SYSTEM)
CHANGE = Change(target=RUNBOOK, edit=Edit(fix="host-sysctl"), why="")


def seed_daemon_set(api: MemoryApi, name: str) -> None:
    labels = {"app": name}
    container = {"name": "main", "image": "runbook", "securityContext": {"privileged": True}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    meta = {"name": name, "namespace": SYSTEM, "labels": {"keep": "me"}}
    api.seed({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    for name in ("disable-ipv6", "pypi-mirror-node-agent"):
        seed_daemon_set(api, name)
    return api


def apply(api: MemoryApi) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan([CHANGE]):
            engine.apply(update)


def roll_back(api: MemoryApi) -> None:
    engine = build_engine(DirectCluster(api))
    with engine.hold_lease():
        for update in engine.plan_rollback(["host-sysctl"]):
            engine.apply(update)


def test_a_removed_workload_is_created_only_from_its_sealed_copy(api: MemoryApi) -> None:
    before = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    apply(api)
    assert not api.has("DaemonSet", "disable-ipv6", SYSTEM)
    ledger = Ledger(DirectCluster(api))
    (stored,) = ledger.read_all()
    spec: Any = json.loads(stored.entry.base or b"")
    spec["template"]["spec"]["containers"][0]["image"] = "evil"
    forged = ledger.put(replace(stored.entry, base=json.dumps(spec).encode()), stored)
    with pytest.raises(RefusedError, match="was not made by mirror"):
        roll_back(api)
    assert not api.has("DaemonSet", "disable-ipv6", SYSTEM)
    labels = replace(stored.entry, metadata='{"labels": {"other": "1"}}')
    forged = ledger.put(labels, forged)
    with pytest.raises(RefusedError, match="nothing proves"):
        roll_back(api)
    ledger.put(stored.entry, forged)
    roll_back(api)
    after = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], {"keep": "me"})


def test_the_agents_with_the_seal_stay_until_the_rollback(api: MemoryApi) -> None:
    apply(api)
    remove_idle_agents(DirectCluster(api))
    assert api.has("DaemonSet", "pypi-mirror-node-agent", SYSTEM)
    roll_back(api)
    remove_idle_agents(DirectCluster(api))
    assert not api.has("DaemonSet", "pypi-mirror-node-agent", SYSTEM)


def test_without_agents_nothing_is_removed(api: MemoryApi) -> None:
    api.remove("DaemonSet", "pypi-mirror-node-agent", SYSTEM)
    with pytest.raises(RefusedError, match="cannot be removed"):
        apply(api)
    assert api.has("DaemonSet", "disable-ipv6", SYSTEM)
    assert build_engine(DirectCluster(api)).entries() == []
