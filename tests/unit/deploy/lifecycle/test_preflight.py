"""What `mirror up` checks before its first write."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.client import Object
from deploy.lifecycle.preflight import check_cluster, list_required_permissions
from deploy.manifests.model import ClusterSettings
from mirror.core.errors import ClusterError, InputError, MirrorError, RefusedError
from tests.kubernetes_api import ALL_RIGHTS, DirectCluster, Rule
from tests.unit.deploy.lifecycle.fakes import (
    make_api,
    make_object,
    make_ready_node,
    make_storage_class,
)

NODE, STORAGE = make_ready_node("ra"), make_storage_class()


def make_claim(storage_class: str) -> Object:
    spec = {
        "storageClassName": storage_class,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
    }
    claim = make_object("PersistentVolumeClaim", "pypi-mirror-data", "pypi-mirror", spec=spec)
    return claim | {"status": {"phase": "Bound", "capacity": {"storage": "20Gi"}}}


def test_returns_the_nodes_and_writes_nothing() -> None:
    api = make_api(NODE, make_ready_node("seth", ready=False), STORAGE)
    nodes = check_cluster(DirectCluster(api), ClusterSettings(image=""))
    assert [node["metadata"]["name"] for node in nodes] == ["ra", "seth"]
    assert api.list_writes() == []


def test_passes_over_nodes_of_other_systems() -> None:
    windows = make_ready_node("win-1")
    windows["status"]["nodeInfo"] = {"operatingSystem": "windows"}
    cluster = DirectCluster(make_api(NODE, windows, STORAGE))
    nodes = check_cluster(cluster, ClusterSettings(image=""))
    assert [node["metadata"]["name"] for node in nodes] == ["ra"]
    with pytest.raises(InputError, match="node 'win-1' runs windows: the mirror cannot run"):
        check_cluster(cluster, ClusterSettings(image="", node="win-1"))


def test_names_missing_permissions() -> None:
    api = make_api(NODE, STORAGE)
    user = api.add_user("limited", [ALL_RIGHTS])
    user.withheld += [Rule("list", "nodes"), Rule("create", "secrets")]
    with pytest.raises(ClusterError, match="lacks permissions") as error:
        check_cluster(DirectCluster(api, user), ClusterSettings(image=""))
    assert error.value.why == (
        "it may not: list nodes in the whole cluster, create secrets in namespace pypi-mirror"
    )


def test_asks_for_every_permission_that_up_uses() -> None:
    """A literal list: a permission that is not asked for fails in the middle of `mirror up`."""
    in_namespace = [
        f"{verb} {resource} in namespace pypi-mirror"
        for resource, verbs in {
            "configmaps": "get patch create delete",
            "services": "get patch create delete",
            "persistentvolumeclaims": "get patch create delete",
            "networkpolicies": "get patch create delete",
            "statefulsets": "get patch create delete",
            "secrets": "get create",
            "pods": "get list create delete",
            "pods/log": "get",
            "events": "list",
            "pods/portforward": "get create",
        }.items()
        for verb in verbs.split()
    ]
    in_cluster = ("list nodes", "get namespaces", "patch namespaces", "list storageclasses")
    expected = [*(f"{right} in the whole cluster" for right in in_cluster), *in_namespace]
    assert sorted(map(str, list_required_permissions("pypi-mirror"))) == sorted(expected)


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
        ((NODE, STORAGE, make_claim("fast")), {"size": "30Gi"}, None, ""),
        (
            (NODE, make_storage_class(expandable=False), make_claim("fast")),
            {"size": "30Gi"},
            RefusedError,
            "volume claim pypi-mirror/pypi-mirror-data cannot be resized from 20Gi to 30Gi",
        ),
    ],
)
def test_checks_nodes_and_storage(
    objects: tuple[Object, ...],
    settings: dict[str, Any],
    error: type[MirrorError] | None,
    message: str,
) -> None:
    cluster = DirectCluster(make_api(*objects))
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
        check_cluster(DirectCluster(make_api(namespace)), ClusterSettings(image=""))
    for part in ("is being deleted", "no node is Ready", "no default storage class"):
        assert part in error.value.why
