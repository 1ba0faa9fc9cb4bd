"""When waiting for the mirror's pod ends, and with which error."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import Cluster
from deploy.lifecycle.rollout import delete_failed_pod, wait_until_ready
from mirror.core.errors import UnfitError, WaitTimeout
from mirror.core.wait import Deadline

FAILED = {"terminated": {"exitCode": 1}}
WAITS = {"waiting": {"reason": "CrashLoopBackOff"}}


class FakeRolloutCluster:
    """A cluster with the mirror's StatefulSet and one pod."""

    def __init__(self, pod: dict[str, Any] | None, log: str = "") -> None:
        self.deadline = Deadline.after(0.2)
        self.log = log
        self.pod = pod
        self.deleted: list[str] = []

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        if kind == "StatefulSet":
            status = {"observedGeneration": 1, "updateRevision": "new"}
            return {"metadata": {"generation": 1}, "status": status}
        return self.pod if kind == "Pod" else None

    def list(self, kind: str, namespace: str, *, fields: str = "") -> list[Any]:
        return []

    def tail_log(self, namespace: str, pod: str, container: str, *, lines: int) -> str:
        return self.log

    def delete(self, kind: str, name: str, namespace: str, *, grace_seconds: int) -> bool:
        self.deleted.append(f"{kind}/{name}")
        return True


def make_pod(
    *statuses: dict[str, Any], ready: bool = False, revision: str = "new"
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "pypi-mirror-0",
            "namespace": "pypi-mirror",
            "labels": {"controller-revision-hash": revision},
        },
        "spec": {"nodeName": "ra", "containers": [{"name": "devpi", "image": "mirror:1"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": list(statuses),
        },
    }


def make_status(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "devpi", "state": state, **fields}


def wait(pod: dict[str, Any] | None, log: str = "") -> tuple[FakeRolloutCluster, Any]:
    cluster = FakeRolloutCluster(pod, log)
    return cluster, wait_until_ready(cast("Cluster", cluster), "pypi-mirror")


def test_returns_the_ready_pod() -> None:
    pod = make_pod(ready=True)
    assert wait(pod)[1] is pod


@pytest.mark.parametrize(
    ("status", "log", "message"),
    [
        (make_status({"waiting": {"reason": "ImagePullBackOff"}}), "", "cannot pull it"),
        (
            make_status({"waiting": {"reason": "CreateContainerConfigError"}}),
            "",
            "container devpi of the mirror cannot start on node ra",
        ),
        (make_status(FAILED), "exec format error", "another architecture than that of node ra"),
        (
            make_status(WAITS, lastState=FAILED, restartCount=3),
            "trace\nerror: the disk is full",
            "cannot start on node ra — the disk is full",
        ),
    ],
)
def test_fails_early_if_the_pod_cannot_start(
    status: dict[str, Any], log: str, message: str
) -> None:
    with pytest.raises(UnfitError) as error:
        wait(make_pod(status), log)
    assert message in str(error.value)


def test_waits_for_a_container_that_restarted_once() -> None:
    with pytest.raises(WaitTimeout):
        wait(make_pod(make_status(WAITS, lastState=FAILED, restartCount=1)))


def test_deletes_an_outdated_pod_that_is_not_ready() -> None:
    cluster = FakeRolloutCluster(make_pod(revision="old"))
    with pytest.raises(WaitTimeout):
        wait_until_ready(cast("Cluster", cluster), "pypi-mirror")
    assert cluster.deleted


@pytest.mark.parametrize(
    ("pod", "deleted"),
    [
        (None, []),
        (make_pod(ready=True), []),
        (make_pod(make_status({"running": {}}, lastState=FAILED)), []),
        (make_pod(make_status({"waiting": {"reason": "ContainerCreating"}})), []),
        (make_pod(make_status(WAITS, lastState=FAILED)), ["Pod/pypi-mirror-0"]),
        (make_pod(make_status(FAILED)), ["Pod/pypi-mirror-0"]),
    ],
)
def test_deletes_a_pod_that_failed_before(pod: dict[str, Any] | None, deleted: list[str]) -> None:
    cluster = FakeRolloutCluster(pod)
    delete_failed_pod(cast("Cluster", cluster), "pypi-mirror")
    assert cluster.deleted == deleted
