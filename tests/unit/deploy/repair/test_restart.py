"""Find running pods that keep IPv6, and restart their workloads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.repair.restart import (
    RestartRequest,
    StalePod,
    StaleWorkload,
    find_stale_workloads,
    restart_workloads,
    try_find_stale_workloads,
)
from mirror.core.errors import InputError, WaitTimeout
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline

CHANGED = {"ra": datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)}
BEFORE, AFTER = "2026-01-02T11:59:59Z", "2026-01-02T12:00:03Z"


def pod(**fields: Any) -> Object:
    """A pod; ``owner``, ``spec`` and ``meta`` are its own, other fields those of its status."""
    owner = fields.pop("owner", ("ReplicaSet", "web-5d"))
    meta: Object = {"name": "web-1", "namespace": "shop"}
    if owner:
        meta["ownerReferences"] = [{"controller": True, "kind": owner[0], "name": owner[1]}]
        meta["labels"] = {"pod-template-hash": "5d"}
    status = {"phase": "Running", "startTime": BEFORE, "podIPs": [{"ip": "10.1.0.1"}]}
    spec = {"nodeName": "ra", **fields.pop("spec", {})}
    return {"metadata": meta | fields.pop("meta", {}), "spec": spec, "status": status | fields}


def workload(**spec: Any) -> Object:
    meta = {"name": "web", "namespace": "shop", "generation": 2}
    status = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}
    return {"metadata": meta, "spec": {"replicas": 1, **spec}, "status": status}


class FakeWorkloadCluster:
    """Pods and one Deployment. Records patches."""

    def __init__(self, pods: list[Object], deployment: Object | None = None) -> None:
        self.objects: dict[str, list[Object]] = {
            "Pod": pods,
            "Deployment": [deployment] if deployment else [],
        }
        self.deadline = Deadline.after(0.3)
        self.patched: list[Object] = []

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        if labels == "(":
            raise ApiError(400, "BadRequest", "unable to parse", "refused", "")
        return self.objects.get(kind, [])

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return self.objects[kind][0]

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        self.patched.append(body)
        return self.objects[kind][0]


def find(
    pod: Object, request: RestartRequest | None = None, deployment: Object | None = None
) -> tuple[StaleWorkload, ...]:
    cluster = cast("Cluster", FakeWorkloadCluster([pod], deployment))
    return find_stale_workloads(cluster, CHANGED, request)


@pytest.mark.parametrize(
    ("stale_pod", "is_stale"),
    [
        (pod(), True),
        (pod(startTime=AFTER), False),
        (pod(startTime=AFTER, podIPs=[{"ip": "10.1.0.1"}, {"ip": "fd70::1"}]), False),
        (pod(spec={"nodeName": "new"}, podIPs=[{"ip": "fd70::1"}]), True),
        (pod(spec={"nodeName": "new"}), False),
        (pod(spec={"hostNetwork": True}), False),
        (pod(phase="Succeeded"), False),
        (pod(meta={"deletionTimestamp": AFTER}), False),
        (pod(startTime=None), False),
    ],
    ids=[
        "older, link-local addresses only",
        "younger",
        "younger, with an address from Calico that is not set",
        "on a node that the fix did not reach",
        "on a node that joined later",
        "on the host's network",
        "ended",
        "ending",
        "not started",
    ],
)
def test_finds_pods_that_started_before_the_fix(stale_pod: Object, is_stale: bool) -> None:
    assert [(workload.title, workload.pods[0].name) for workload in find(stale_pod)] == (
        [("shop/deployment/web", "web-1")] if is_stale else []
    )


@pytest.mark.parametrize(
    ("stale_pod", "restart_request", "deployment", "reason"),
    [
        (pod(), RestartRequest(selector="all"), workload(), ""),
        (pod(), RestartRequest(selector="app=x"), None, "not selected"),
        (pod(), RestartRequest(selector="all"), workload(paused=True), "paused"),
        (
            pod(),
            RestartRequest(selector="all"),
            workload(updateStrategy={"type": "OnDelete"}),
            "OnDelete",
        ),
        (
            pod(),
            RestartRequest(selector="all"),
            workload(updateStrategy={"rollingUpdate": {"partition": 2}}),
            "partition",
        ),
        (pod(), RestartRequest(selector="all", namespace="shop"), workload(), "--restart-system"),
        (pod(), RestartRequest(selector="all", namespace="shop", system=True), workload(), ""),
        (pod(owner=None), RestartRequest(selector="all"), workload(), "no workload recreates it"),
        (pod(owner=("Job", "j")), RestartRequest(selector="all"), workload(), "ends by itself"),
        (
            pod(owner=("Rollout", "r")),
            RestartRequest(selector="all"),
            workload(),
            "kind Rollout is not supported",
        ),
    ],
)
def test_decides_which_workloads_restart(
    stale_pod: Object, restart_request: RestartRequest, deployment: Object, reason: str
) -> None:
    (workload,) = find(stale_pod, restart_request, deployment)
    assert workload.restarts is (reason == "")
    assert reason in workload.why_not


def test_rejects_a_bad_selector() -> None:
    with pytest.raises(InputError, match="not a label selector"):
        find(pod(), RestartRequest(selector="("))


WEB = StaleWorkload(
    kind="Deployment",
    namespace="shop",
    name="web",
    pods=(StalePod(name="web-1", node="ra"),),
    restarts=True,
)


def test_restart_waits_for_the_rollout() -> None:
    fake = FakeWorkloadCluster([], workload())
    assert restart_workloads(cast("Cluster", fake), [WEB], SILENT) == ("shop/deployment/web",)
    (body,) = fake.patched
    assert list(body["spec"]["template"]["metadata"]["annotations"]) == [
        "kubectl.kubernetes.io/restartedAt"
    ]


def test_restart_names_an_unfinished_rollout() -> None:
    fake = FakeWorkloadCluster([], workload(replicas=2))
    with pytest.raises(WaitTimeout) as timeout:
        restart_workloads(cast("Cluster", fake), [WEB], SILENT)
    assert "shop/deployment/web" in timeout.value.why
    assert "kubectl" in timeout.value.next_step


def test_reports_a_missing_permission_to_list_pods() -> None:
    class ForbiddenCluster(FakeWorkloadCluster):
        def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Any]:
            raise ApiError(403, "Forbidden", "pods is forbidden", "refused", "")

    cluster = cast("Cluster", ForbiddenCluster([]))
    workloads, why = try_find_stale_workloads(cluster, CHANGED)
    assert workloads == ()
    assert "pods is forbidden" in why
