"""Whether the reconciler of the fixes runs, and why it does not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.fixes import ReconcilerState, read_reconciler
from deploy.manifests.reconciler import ReconciledObject, render_reconciler_objects

TARGET = ReconciledObject(
    title="ConfigMap kube-system/coredns",
    ledger_entry="page-1",
    path="/api/v1/namespaces/kube-system/configmaps/coredns",
    group="",
    plural="configmaps",
    name="coredns",
    namespace="kube-system",
)
PULLING = {
    "status": {
        "containerStatuses": [{"name": "k", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    }
}


class FakeDeploymentCluster:
    def __init__(self, deployment: Any, pods: Any) -> None:
        self._deployment, self._pods = deployment, pods

    def get(self, kind: str, name: str, namespace: str) -> Any:
        return self._deployment

    def list(self, kind: str, namespace: str, *, labels: str) -> Any:
        assert "app.kubernetes.io/component=keeper" in labels
        if self._pods is None:
            raise ApiError(403, "", "may not list pods", "refused", "")
        return self._pods


def build_deployment(
    targets: list[ReconciledObject], *, ready: int, replicas: int | None = None
) -> Any:
    """Return the reconciler's Deployment with the status of this many Ready pods."""
    objects = render_reconciler_objects("mirror:1", targets)
    deployment = next(obj for obj in objects if obj["kind"] == "Deployment")
    if replicas is not None:
        deployment["spec"]["replicas"] = replicas
    deployment["metadata"]["generation"] = 1
    counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), ready)
    return deployment | {"status": {"observedGeneration": 1, **counts}}


RUNNING, STOPPED = ReconcilerState(running=True), ReconcilerState(running=False)
PULL_FAILED = ReconcilerState(running=False, trouble="ImagePullBackOff")


@pytest.mark.parametrize(
    ("deployment", "pods", "state"),
    [
        (None, [], None),
        (build_deployment([TARGET], ready=1), [], RUNNING),
        # only targets on nodes, which the agents reconcile
        (build_deployment([], ready=0), [], RUNNING),
        (build_deployment([TARGET], ready=0, replicas=0), [], STOPPED),
        (build_deployment([TARGET], ready=0), [PULLING], PULL_FAILED),
        (build_deployment([TARGET], ready=0), None, STOPPED),
    ],
)
def test_reads_the_state_of_the_reconciler(
    deployment: Any, pods: Any, state: ReconcilerState | None
) -> None:
    assert read_reconciler(cast("Cluster", FakeDeploymentCluster(deployment, pods))) == state
