"""A workload that a fix removed is created again only from the copy that was stored then."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.changes.ledger import Ledger
from deploy.changes.model import Change, Edit, ObjectSpec
from deploy.fix_registry import build_engine
from deploy.repair.node_agents import remove_idle_agents
from mirror.core.errors import RefusedError
from mirror.merge import encode_spec
from tests.kubernetes_api import DirectCluster, MemoryApi

SYSTEM = "kube-system"
RUNBOOK = ObjectSpec(kind="DaemonSet", name="disable-ipv6", namespace=SYSTEM)
CHANGE = Change(target=RUNBOOK, edit=Edit(fix="host-sysctl"), why="")


LEDGER = Path(__file__).parents[2] / "cases" / "ledger" / "version-0.1.0-runbook.json"
VERSION_0_1_0: Any = json.loads(LEDGER.read_text())
SCRIPT = "nsenter -t 1 -m -u -n -i sysctl -w net.ipv6.conf.all.disable_ipv6=1; sleep infinity"


def seed_daemon_set(api: MemoryApi, name: str, **more: Any) -> None:
    labels = {"app": name}
    container = {"name": "main", "image": "runbook", "securityContext": {"privileged": True}}
    container |= more
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


def remove_as_version_0_1_0_did(api: MemoryApi) -> None:
    """It stored the same copy, and no seal."""
    apply(api)
    agent = api.read("DaemonSet", "pypi-mirror-node-agent", SYSTEM)
    del agent["metadata"]["annotations"]
    api.remove("DaemonSet", "pypi-mirror-node-agent", SYSTEM)
    api.seed(agent)


def test_a_harmless_copy_of_version_0_1_0_is_restored_exactly(api: MemoryApi) -> None:
    api.remove("DaemonSet", "disable-ipv6", SYSTEM)
    seed_daemon_set(api, "disable-ipv6", image="busybox:1.36", command=["sh", "-c", SCRIPT])
    before = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    remove_as_version_0_1_0_did(api)
    roll_back(api)
    after = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], {"keep": "me"})
    assert build_engine(DirectCluster(api)).entries() == []


def test_what_version_0_1_0_itself_stored_is_restored_exactly(api: MemoryApi) -> None:
    """The ConfigMap is one that the code of that version wrote when it removed the DaemonSet."""
    api.remove("DaemonSet", "disable-ipv6", SYSTEM)
    api.seed(VERSION_0_1_0)
    roll_back(api)
    restored = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    assert restored["metadata"]["labels"] == {"from": "runbook"}
    assert encode_spec(restored["spec"]) == base64.b64decode(VERSION_0_1_0["binaryData"]["base"])
    (container,) = restored["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["command"]) == ("busybox:1.36", ["sh", "-c", SCRIPT])
    assert build_engine(DirectCluster(api)).rejected() == []
    assert not [name for name in api.dump() if "ledger" in name]


def test_a_copy_with_an_unknown_image_waits_for_an_administrator(api: MemoryApi) -> None:
    """The command of the message proves this copy alone, and leaves nothing."""
    image = "registry.example/nsenter:1"
    api.remove("DaemonSet", "disable-ipv6", SYSTEM)
    seed_daemon_set(api, "disable-ipv6", image=image, command=["sh", "-c", SCRIPT])
    before = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    remove_as_version_0_1_0_did(api)
    with pytest.raises(RefusedError, match=f"with the programs of {image}") as error:
        roll_back(api)
    assert not api.has("DaemonSet", "disable-ipv6", SYSTEM)
    command = re.search(r"kubectl annotate namespace kube-system (\S+)=(\w+)", str(error.value))
    assert command
    cluster = DirectCluster(api)
    for digest, is_proved in (("0" * 64, False), (command[2], True)):
        body = {"metadata": {"annotations": {command[1]: digest, "other": "stays"}}}
        cluster.patch("Namespace", SYSTEM, None, body)
        assert bool(build_engine(cluster).entries()) == is_proved
    roll_back(api)
    after = api.read("DaemonSet", "disable-ipv6", SYSTEM)
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], {"keep": "me"})
    annotations = api.read("Namespace", SYSTEM)["metadata"]["annotations"]
    assert annotations == {"other": "stays"}


def test_a_restored_object_has_no_other_metadata_than_labels_and_annotations(
    api: MemoryApi,
) -> None:
    """A forged copy cannot give it another name, an owner or a finalizer."""
    api.remove("DaemonSet", "disable-ipv6", SYSTEM)
    seed_daemon_set(api, "disable-ipv6", image="busybox:1.36", command=["sh", "-c", SCRIPT])
    remove_as_version_0_1_0_did(api)
    ledger = Ledger(DirectCluster(api))
    (stored,) = ledger.read_all()
    metadata = {"name": "other", "finalizers": ["a/b"], "labels": {"keep": "me"}}
    ledger.put(replace(stored.entry, metadata=json.dumps(metadata)), stored)
    roll_back(api)
    restored = api.read("DaemonSet", "disable-ipv6", SYSTEM)["metadata"]
    assert restored["labels"] == {"keep": "me"}
    assert "finalizers" not in restored
    assert not api.has("DaemonSet", "other", SYSTEM)


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
