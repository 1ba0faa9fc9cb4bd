"""What `mirror up` checks before its first write."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.client import Object
from deploy.lifecycle.preflight import check_cluster
from deploy.manifests.model import ClusterSettings
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError
from tests.unit.deploy.lifecycle.fakes import (
    FakeLifecycleCluster,
    make_object,
    make_ready_node,
    make_storage_class,
)

NODE, STORAGE = make_ready_node("ra"), make_storage_class()


def make_claim(storage_class: str) -> Object:
    spec = {
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "20Gi"}},
    }
    return make_object("PersistentVolumeClaim", "pypi-mirror-data", "pypi-mirror", spec=spec)


def test_returns_the_nodes_and_writes_nothing() -> None:
    cluster = FakeLifecycleCluster(NODE, make_ready_node("seth", ready=False), STORAGE)
    nodes = check_cluster(cluster.as_client(), ClusterSettings(image=""))
    assert [node["metadata"]["name"] for node in nodes] == ["ra", "seth"]
    assert cluster.writes == []


def test_passes_over_nodes_of_other_systems() -> None:
    windows = make_ready_node("win-1")
    windows["status"]["nodeInfo"] = {"operatingSystem": "windows"}
    cluster = FakeLifecycleCluster(NODE, windows, STORAGE)
    nodes = check_cluster(cluster.as_client(), ClusterSettings(image=""))
    assert [node["metadata"]["name"] for node in nodes] == ["ra"]
    with pytest.raises(InputError, match="node 'win-1' runs windows: the mirror cannot run"):
        check_cluster(cluster.as_client(), ClusterSettings(image="", node="win-1"))


def test_names_missing_permissions() -> None:
    forbidden = (("list", "nodes"), ("create", "secrets"))
    cluster = FakeLifecycleCluster(NODE, STORAGE, forbidden=forbidden)
    with pytest.raises(ClusterError, match="lacks permissions") as error:
        check_cluster(cluster.as_client(), ClusterSettings(image=""))
    assert error.value.why == (
        "it may not: list nodes in the whole cluster, create secrets in namespace pypi-mirror"
    )


@pytest.mark.parametrize(
    ("objects", "settings", "error", "message"),
    [
        ((STORAGE,), {}, ClusterError, "no node is Ready"),
        ((NODE, STORAGE), {"node": "seth"}, InputError, "no node 'seth' in the cluster"),
        ((NODE,), {}, ClusterError, "no default storage class in the cluster"),
        (
            (NODE, STORAGE),
            {"pull_secret": "corp"},
            InputError,
            "no Secret 'corp' in namespace pypi-mirror",
        ),
        (
            (NODE, STORAGE, make_object("Secret", "corp", "pypi-mirror")),
            {"pull_secret": "corp"},
            None,
            "",
        ),
        (
            (NODE, make_storage_class(default=False)),
            {},
            ClusterError,
            "no default storage class in the cluster",
        ),
        (
            (NODE, STORAGE),
            {"storage_class": "slow"},
            ClusterError,
            "no storage class 'slow' in the cluster",
        ),
        (
            (NODE, make_claim("fast")),
            {"storage_class": "slow"},
            RefusedError,
            "volume claim pypi-mirror/pypi-mirror-data is of storage class fast, not slow",
        ),
        (
            (NODE, STORAGE, make_object("Namespace", "pypi-mirror")),
            {},
            None,
            "",
        ),
        ((NODE, make_claim("fast")), {"size": "30Gi"}, None, ""),
    ],
)
def test_checks_nodes_and_storage(
    objects: tuple[Object, ...],
    settings: dict[str, Any],
    error: type[MirrorError] | None,
    message: str,
) -> None:
    cluster = FakeLifecycleCluster(*objects).as_client()
    if error is None:
        check_cluster(cluster, ClusterSettings(image="", **settings))
        return
    with pytest.raises(error) as raised:
        check_cluster(cluster, ClusterSettings(image="", **settings))
    assert raised.value.what == message
    assert raised.value.next_step


def test_reports_all_problems_at_once() -> None:
    namespace = make_object("Namespace", "pypi-mirror", status={})
    namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    with pytest.raises(ClusterError, match="3 problems") as error:
        check_cluster(FakeLifecycleCluster(namespace).as_client(), ClusterSettings(image=""))
    for part in ("is being deleted", "no node is Ready", "no default storage class"):
        assert part in error.value.why
