"""Reading conditions, containers, volumes and rollouts of Kubernetes objects."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.client import Cluster
from deploy.cluster.objects import (
    get_container,
    get_container_statuses,
    get_image,
    get_internal_ips,
    get_waiting_reasons,
    has_condition,
    is_ready,
    is_rolled_out,
    is_stuck,
    read_volume_nodes,
)
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule

CONTAINERS = [{"name": "helper", "image": "helper:1"}, {"name": "calico-node", "image": "node:1"}]
POD = {"spec": {"containers": CONTAINERS}}
WORKLOAD = {"spec": {"template": {"spec": {"containers": CONTAINERS}}}}


def make_waiting_pod(reason: str, *, init: bool = False) -> dict[str, Any]:
    status = {"name": "c", "state": {"waiting": {"reason": reason}}}
    return {"status": {"initContainerStatuses" if init else "containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("status", "ready"), [("True", True), ("False", False), ("Unknown", False), (None, False)]
)
def test_reads_conditions(status: str | None, ready: bool) -> None:
    conditions = [{"type": "Ready", "status": status}] if status else []
    assert is_ready({"status": {"conditions": conditions}}) is ready
    assert not has_condition({"status": {"conditions": conditions}}, "DiskPressure")


def test_objects_without_a_status_have_no_conditions_and_containers() -> None:
    assert not is_ready({})
    assert get_container_statuses({}) == []
    assert get_internal_ips({}) == ()


@pytest.mark.parametrize("obj", [POD, WORKLOAD])
def test_reads_containers_of_pods_and_of_templates(obj: dict[str, Any]) -> None:
    assert get_image(obj) == "helper:1"
    assert get_container(obj, "calico-node")["image"] == "node:1"
    assert get_container(obj, "missing")["image"] == "helper:1"


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize(
    ("reason", "stuck"),
    [
        ("ErrImagePull", True),
        ("CreateContainerConfigError", True),
        ("RunContainerError", True),
        ("ContainerCreating", False),
        ("CrashLoopBackOff", False),
    ],
)
def test_tells_whether_a_pod_is_stuck(reason: str, stuck: bool, init: bool) -> None:
    pod = make_waiting_pod(reason, init=init)
    assert get_waiting_reasons(pod) == {"c": reason}
    assert is_stuck(pod) is stuck


def make_cluster_with_volume(volume: dict[str, Any] | None) -> Cluster:
    """Return a cluster with the volume, or one whose user may not read it."""
    api = MemoryApi()
    if volume:
        api.seed({"kind": "PersistentVolume", "metadata": {"name": "pv-1"}, **volume})
    rules = [Rule("get", "persistentvolumes")] if volume else []
    return DirectCluster(api, api.add_user("limited", rules))


@pytest.mark.parametrize(
    ("volume", "nodes"),
    [
        ({"spec": {}}, ()),
        ({"spec": {"nodeAffinity": None}}, ()),
        (None, ()),
        (
            {
                "spec": {
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/hostname", "values": ["ra"]},
                                        {"key": "disk", "values": ["ssd"]},
                                    ]
                                },
                                {"matchFields": [{"key": "metadata.name", "values": ["ra"]}]},
                            ]
                        }
                    }
                }
            },
            ("ra",),
        ),
    ],
)
def test_reads_the_nodes_of_a_volume(volume: dict[str, Any] | None, nodes: tuple[str, ...]) -> None:
    claim = {"spec": {"volumeName": "pv-1"}}
    assert read_volume_nodes(make_cluster_with_volume(volume), claim) == nodes


def test_a_claim_without_a_volume_has_no_nodes() -> None:
    assert read_volume_nodes(make_cluster_with_volume(None), {"spec": {}}) == ()


@pytest.mark.parametrize(
    ("status", "rolled_out"),
    [
        ({"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": 2, "replicas": 2}, True),
        ({"observedGeneration": 1, "updatedReplicas": 2, "readyReplicas": 2, "replicas": 2}, False),
        ({"observedGeneration": 2, "updatedReplicas": 2, "readyReplicas": 2, "replicas": 3}, False),
        ({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 2, "replicas": 2}, False),
        (
            {
                "observedGeneration": 2,
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3,
                "numberReady": 3,
            },
            True,
        ),
        (
            {
                "observedGeneration": 2,
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3,
                "numberReady": 2,
            },
            False,
        ),
        ({}, False),
    ],
)
def test_tells_whether_a_workload_is_rolled_out(status: dict[str, int], rolled_out: bool) -> None:
    assert is_rolled_out({"spec": {"replicas": 2}, "status": status}, generation=2) is rolled_out
