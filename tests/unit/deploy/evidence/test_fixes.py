"""Whether the reconciler of the fixes runs, and why it does not."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.evidence.fixes import ReconcilerState, read_reconciler
from deploy.manifests.reconciler import ReconciledObject, render_reconciler_objects
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule

TARGET = ReconciledObject(
    title="ConfigMap kube-system/coredns",
    ledger_entry="page-1",
    path="/api/v1/namespaces/kube-system/configmaps/coredns",
    group="",
    plural="configmaps",
    name="coredns",
    namespace="kube-system",
)
LABELS = {
    "app.kubernetes.io/name": "pypi-mirror",
    "app.kubernetes.io/managed-by": "pypi-mirror",
    "app.kubernetes.io/component": "keeper",
}
PULLING = {
    "kind": "Pod",
    "metadata": {"name": "keeper-1", "namespace": "kube-system", "labels": LABELS},
    "spec": {"containers": [{"name": "k", "image": "mirror:1"}]},
    "status": {
        "containerStatuses": [{"name": "k", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    },
}


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
    api = MemoryApi()
    api.seed(*([deployment] if deployment else []), *(pods or []))
    user = api.add_user("limited", [Rule("*", "*")])
    if pods is None:
        user.withheld.append(Rule("list", "pods"))
    assert read_reconciler(DirectCluster(api, user)) == state
