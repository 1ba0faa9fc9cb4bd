"""Find running pods that keep IPv6, and restart their workloads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.cluster.client import ApiError, Object
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
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule, on
from tests.kubernetes_api.controllers import roll_out_workloads

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
    meta |= fields.pop("meta", {})
    return {"kind": "Pod", "metadata": meta, "spec": spec, "status": status | fields}


def workload(**spec: Any) -> Object:
    meta = {"name": "web", "namespace": "shop", "generation": 2}
    status = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template} | spec
    return {"kind": "Deployment", "metadata": meta, "spec": spec, "status": status}


def make_api(*objects: Object) -> MemoryApi:
    api = MemoryApi()
    api.seed({"kind": "Namespace", "metadata": {"name": "shop"}}, *objects)
    return api


def find(
    pod: Object, request: RestartRequest | None = None, deployment: Object | None = None
) -> tuple[StaleWorkload, ...]:
    api = make_api(pod, *([deployment] if deployment else []))
    return find_stale_workloads(DirectCluster(api), CHANGED, request)


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


WEB_PATH = "/apis/apps/v1/namespaces/shop/deployments/web"


def test_restart_waits_for_the_rollout() -> None:
    api = make_api(workload())
    api.after_write.append(roll_out_workloads)
    assert restart_workloads(DirectCluster(api), [WEB], SILENT) == ("shop/deployment/web",)
    assert api.list_writes() == [f"PATCH {WEB_PATH}"]
    template = api.read("Deployment", "web", "shop")["spec"]["template"]
    assert list(template["metadata"]["annotations"]) == ["kubectl.kubernetes.io/restartedAt"]
    assert template["metadata"]["labels"] == {"app": "web"}
    assert template["spec"] == workload()["spec"]["template"]["spec"] | template["spec"]


def test_restart_names_an_unfinished_rollout() -> None:
    """The status that is there belongs to the generation before the restart."""
    cluster = DirectCluster(make_api(workload()), deadline=Deadline.after(0.3))
    with pytest.raises(WaitTimeout) as timeout:
        restart_workloads(cluster, [WEB], SILENT)
    assert "shop/deployment/web" in timeout.value.why
    assert "kubectl" in timeout.value.next_step


def test_restart_does_not_wait_for_a_workload_that_was_deleted() -> None:
    api = make_api(workload())
    api.failures.run(on("PATCH"), lambda _: api.remove("Deployment", "web", "shop"), "after")
    assert restart_workloads(DirectCluster(api), [WEB], SILENT) == ("shop/deployment/web",)


def test_restarts_only_what_was_chosen() -> None:
    api = make_api(workload())
    assert restart_workloads(DirectCluster(api), [replace(WEB, restarts=False)], SILENT) == ()
    assert api.list_writes() == []


@pytest.mark.parametrize("status", [403, 500])
def test_reports_a_missing_permission_to_list_pods(status: int) -> None:
    api = make_api(pod(), workload())
    user = api.add_user("limited", [Rule("*", "*")])
    if status == 403:
        user.withheld.append(Rule("list", "pods"))
    else:
        api.failures.refuse(on("GET", "/api/v1/pods"), status, times=None)
    cluster = DirectCluster(api, user)
    workloads, why = try_find_stale_workloads(cluster, CHANGED)
    assert workloads == ()
    assert ("pods is forbidden" if status == 403 else "refused by the test") in why
    with pytest.raises(ApiError):
        try_find_stale_workloads(cluster, CHANGED, RestartRequest(selector="all"))
