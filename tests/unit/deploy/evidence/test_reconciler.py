"""Whether the keeper runs, and why not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.fixes import ReconcilerState, read_reconciler
from deploy.manifests.reconciler import ReconciledObject, render_reconciler_objects

ONE = ReconciledObject(
    title="ConfigMap kube-system/coredns",
    ledger_entry="page-1",
    path="/api/v1/namespaces/kube-system/configmaps/coredns",
    group="",
    plural="configmaps",
    name="coredns",
    namespace="kube-system",
)
PULLS = {
    "status": {
        "containerStatuses": [{"name": "k", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    }
}


class FakeDeploymentCluster:
    def __init__(self, found: Any, pods: Any) -> None:
        self._found, self._pods = found, pods

    def get(self, kind: str, name: str, namespace: str) -> Any:
        return self._found

    def list(self, kind: str, namespace: str, *, labels: str) -> Any:
        assert "app.kubernetes.io/component=keeper" in labels
        if self._pods is None:
            raise ApiError(403, "", "may not list pods", "refused", "")
        return self._pods


def made(kept: list[ReconciledObject], *, ready: int, replicas: int | None = None) -> Any:
    """The Deployment as it is written, with the status of so many ready pods."""
    objects = render_reconciler_objects("mirror:1", kept)
    found = next(one for one in objects if one["kind"] == "Deployment")
    if replicas is not None:
        found["spec"]["replicas"] = replicas
    found["metadata"]["generation"] = 1
    counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), ready)
    return found | {"status": {"observedGeneration": 1, **counts}}


@pytest.mark.parametrize(
    ("found", "pods", "state"),
    [
        (None, [], None),
        (made([ONE], ready=1), [], ReconcilerState(running=True)),
        (
            made([], ready=0),
            [],
            ReconcilerState(running=True),
        ),  # nodes alone: their agents keep them
        (made([ONE], ready=0, replicas=0), [], ReconcilerState(running=False)),
        (made([ONE], ready=0), [PULLS], ReconcilerState(running=False, trouble="ImagePullBackOff")),
        (made([ONE], ready=0), None, ReconcilerState(running=False)),
    ],
)
def test_how_it_stands(found: Any, pods: Any, state: ReconcilerState | None) -> None:
    assert read_reconciler(cast("Cluster", FakeDeploymentCluster(found, pods))) == state
