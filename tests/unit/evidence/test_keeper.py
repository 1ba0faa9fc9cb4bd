"""Whether the keeper runs, and why not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.client import ApiRefusal, Cluster
from deploy.evidence.keeper import read_keeper
from deploy.evidence.things import KeeperState
from deploy.manifests.keeper import Kept, keeper_objects

ONE = Kept(
    title="ConfigMap kube-system/coredns",
    page="page-1",
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


class Fake:
    def __init__(self, found: Any, pods: Any) -> None:
        self._found, self._pods = found, pods

    def get(self, kind: str, name: str, namespace: str) -> Any:
        return self._found

    def list(self, kind: str, namespace: str, *, labels: str) -> Any:
        assert "app.kubernetes.io/component=keeper" in labels
        if self._pods is None:
            raise ApiRefusal(403, "", "may not list pods", "refused", "")
        return self._pods


def made(kept: list[Kept], *, ready: int, replicas: int | None = None) -> Any:
    """The Deployment as it is written, with the status of so many ready pods."""
    objects = keeper_objects("mirror:1", kept)
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
        (made([ONE], ready=1), [], KeeperState(running=True)),
        (made([], ready=0), [], KeeperState(running=True)),  # nodes alone: their agents keep them
        (made([ONE], ready=0, replicas=0), [], KeeperState(running=False)),
        (made([ONE], ready=0), [PULLS], KeeperState(running=False, trouble="ImagePullBackOff")),
        (made([ONE], ready=0), None, KeeperState(running=False)),
    ],
)
def test_how_it_stands(found: Any, pods: Any, state: KeeperState | None) -> None:
    assert read_keeper(cast("Cluster", Fake(found, pods))) == state
