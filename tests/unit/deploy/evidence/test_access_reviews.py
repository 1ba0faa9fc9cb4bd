"""Which permissions doctor reviews: a literal list, so that one that goes missing is noticed."""

from __future__ import annotations

from deploy.evidence.access import read_access
from tests.kubernetes_api import DirectCluster, MemoryApi


def test_reviews_what_the_readers_use() -> None:
    rights = read_access(DirectCluster(MemoryApi()), "tools").rights
    reviewed = {f"{right.verb} {right.resource} {right.namespace or '*'}" for right in rights}
    assert reviewed >= {
        "list nodes *",
        "list pods *",
        "get pods/log *",
        "list events *",
        "get services kube-system",
        "list pods kube-system",
        "get configmaps kube-system",
        "list configmaps kube-system",
        "get deployments kube-system",
        "get namespaces *",
        "get configmaps tools",
        "get services tools",
        "get statefulsets tools",
        "get persistentvolumeclaims tools",
        "create pods tools",
        "delete pods tools",
    }
    assert all(right.allowed for right in rights)
