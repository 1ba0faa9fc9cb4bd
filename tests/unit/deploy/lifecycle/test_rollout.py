"""When waiting for the mirror's pod ends, and with which error."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.lifecycle.rollout import delete_failed_pod, wait_until_ready
from mirror.core.errors import UnfitError, WaitTimeout
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi

FAILED = {"terminated": {"exitCode": 1}}
WAITS = {"waiting": {"reason": "CrashLoopBackOff"}}


NAMESPACE = "pypi-mirror"


def make_rollout_api(pod: dict[str, Any] | None, log: str = "") -> MemoryApi:
    """Return an API with the mirror's StatefulSet, whose newest revision is `new`, and its pod."""
    api = MemoryApi()
    status = {"observedGeneration": 1, "updateRevision": "new"}
    template = {"spec": {"containers": [{"name": "devpi", "image": "mirror:1"}]}}
    metadata = {"name": "pypi-mirror", "namespace": NAMESPACE}
    api.seed({"kind": "Namespace", "metadata": {"name": NAMESPACE}})
    stateful_set = {"kind": "StatefulSet", "metadata": metadata, "status": status}
    api.seed(stateful_set | {"spec": {"template": template}})
    if pod:
        api.seed(pod)
    api.logs[NAMESPACE, "pypi-mirror-0", "devpi"] = log
    return api


def make_pod(
    *statuses: dict[str, Any], ready: bool = False, revision: str = "new"
) -> dict[str, Any]:
    return {
        "kind": "Pod",
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


def connect(api: MemoryApi) -> DirectCluster:
    return DirectCluster(api, deadline=Deadline.after(0.2))


def wait(pod: dict[str, Any] | None, log: str = "") -> Any:
    return wait_until_ready(connect(make_rollout_api(pod, log)), NAMESPACE)


def test_returns_the_ready_pod() -> None:
    pod = wait(make_pod(ready=True))
    assert (pod["metadata"]["name"], pod["spec"]["nodeName"]) == ("pypi-mirror-0", "ra")


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
    api = make_rollout_api(make_pod(revision="old"))
    with pytest.raises(WaitTimeout):
        wait_until_ready(connect(api), NAMESPACE)
    assert not api.has("Pod", "pypi-mirror-0", NAMESPACE)


def test_waits_while_a_ready_pod_of_the_old_revision_is_replaced() -> None:
    api = make_rollout_api(make_pod(revision="old", ready=True))
    with pytest.raises(WaitTimeout):
        wait_until_ready(connect(api), NAMESPACE)
    assert api.list_writes() == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Pod", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ("StatefulSet", {"status": {"observedGeneration": 0}}),
    ],
    ids=["the pod is being deleted", "the change was not seen yet"],
)
def test_waits_for_the_pod_of_the_newest_change(kind: str, change: dict[str, Any]) -> None:
    api = make_rollout_api(make_pod(ready=True))

    def edit(obj: dict[str, Any]) -> None:
        for key, values in change.items():
            obj[key].update(values)

    api.edit(kind, "pypi-mirror-0" if kind == "Pod" else "pypi-mirror", NAMESPACE, edit)
    with pytest.raises(WaitTimeout):
        wait_until_ready(connect(api), NAMESPACE)
    assert api.list_writes() == []


@pytest.mark.parametrize(
    ("pod", "deleted"),
    [
        (None, False),
        (make_pod(ready=True), False),
        (make_pod(make_status({"running": {}}, lastState=FAILED)), False),
        (make_pod(make_status({"waiting": {"reason": "ContainerCreating"}})), False),
        (make_pod(make_status(WAITS, lastState=FAILED)), True),
        (make_pod(make_status(FAILED)), True),
    ],
)
def test_deletes_a_pod_that_failed_before(pod: dict[str, Any] | None, deleted: bool) -> None:
    api = make_rollout_api(pod)
    delete_failed_pod(connect(api), NAMESPACE)
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/pypi-mirror-0"
    assert api.list_writes() == ([f"DELETE {path}"] if deleted else [])
    assert api.has("Pod", "pypi-mirror-0", NAMESPACE) is (pod is not None and not deleted)
