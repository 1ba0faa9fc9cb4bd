"""Which running pods keep IPv6, and which workloads are made again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.repair import restart
from deploy.repair.restart import (
    RestartRequest,
    StalePod,
    StaleWorkload,
    find_stale_workloads,
    restart_workloads,
)
from mirror.core.errors import InputError, WaitTimeout
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline

CHANGED = {"ra": datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)}
BEFORE, AFTER = "2026-01-02T11:59:59Z", "2026-01-02T12:00:03Z"


def pod(name: str = "web-1", **more: Any) -> Object:
    owner = more.pop("owner", ("ReplicaSet", "web-5d"))
    meta: Object = {"name": name, "namespace": more.pop("namespace", "shop")}
    if owner:
        meta["ownerReferences"] = [{"controller": True, "kind": owner[0], "name": owner[1]}]
        meta["labels"] = {"pod-template-hash": "5d"}
    status = {"phase": "Running", "startTime": BEFORE, "podIPs": [{"ip": "10.1.0.1"}]}
    spec = {"nodeName": "ra", **more.pop("spec", {})}
    return {"metadata": meta | more.pop("meta", {}), "spec": spec, "status": status | more}


def workload(**spec: Any) -> Object:
    meta = {"name": "web", "namespace": "shop", "generation": 2}
    done = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}
    return {"metadata": meta, "spec": {"replicas": 1, **spec}, "status": done}


class FakeWorkloadCluster:
    """Objects by kind; what is patched is kept."""

    def __init__(self, pods: list[Object], found: Object | None = None) -> None:
        self.objects: dict[str, list[Object]] = {
            "Pod": pods,
            "Deployment": [found] if found else [],
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


def look(
    *pods: Object, asked: RestartRequest | None = None, found: Object | None = None
) -> list[StaleWorkload]:
    return list(
        find_stale_workloads(
            cast("Cluster", FakeWorkloadCluster(list(pods), found)), CHANGED, asked
        )
    )


@pytest.mark.parametrize(
    ("one", "kept"),
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
        "older, link-local only",
        "younger",
        "younger, and Calico gave an address that is not set",
        "of a node that was not reached",
        "of a node that joined later",
        "of the host's network",
        "ended",
        "ending",
        "not started",
    ],
)
def test_what_a_pod_keeps(one: Object, kept: bool) -> None:
    found = look(one)
    assert [(w.title, w.pods[0].name) for w in found] == (
        [("shop/deployment/web", "web-1")] if kept else []
    )


@pytest.mark.parametrize(
    ("one", "asked", "found", "said"),
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
def test_which_are_made_again(one: Object, asked: RestartRequest, found: Object, said: str) -> None:
    (told,) = look(one, asked=asked, found=found)
    assert told.restarts is (said == "")
    assert said in told.why_not


def test_a_bad_selector_is_bad_input() -> None:
    with pytest.raises(InputError, match="no label selector"):
        look(pod(), asked=RestartRequest(selector="("))


WEB = StaleWorkload(
    kind="Deployment",
    namespace="shop",
    name="web",
    pods=(StalePod(name="web-1", node="ra"),),
    restarts=True,
)


def test_a_rollout_is_waited_for() -> None:
    fake = FakeWorkloadCluster([], workload())
    assert restart_workloads(cast("Cluster", fake), [WEB], SILENT) == ("shop/deployment/web",)
    (body,) = fake.patched
    assert list(body["spec"]["template"]["metadata"]["annotations"]) == [
        "kubectl.kubernetes.io/restartedAt"
    ]


def test_a_rollout_that_does_not_end_is_named() -> None:
    fake = FakeWorkloadCluster([], workload(replicas=2))
    with pytest.raises(WaitTimeout) as late:
        restart_workloads(cast("Cluster", fake), [WEB], SILENT)
    assert "shop/deployment/web" in late.value.why
    assert "kubectl" in late.value.next_step


def test_what_may_not_be_seen_is_said() -> None:
    class Blind(FakeWorkloadCluster):
        def list(self, kind: str, namespace: str | None = None, *, labels: str = "") -> list[Any]:
            raise ApiError(403, "Forbidden", "pods is forbidden", "refused", "")

    found, why = restart.try_find_stale_workloads(cast("Cluster", Blind([])), CHANGED)
    assert found == ()
    assert "pods is forbidden" in why
