"""Which permissions are missing."""

from __future__ import annotations

from deploy.cluster.access import Permission, find_missing, review_permissions
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule

API = MemoryApi()
CLUSTER = DirectCluster(API, API.add_user("limited", [Rule("*", "pods", namespaces=("shop",))]))
LIST_NODES = Permission(verb="list", resource="nodes")
GET_PODS = Permission(verb="get", resource="pods", namespace="shop")
PATCH_SECRETS = Permission(verb="patch", resource="secrets", namespace="shop")


def test_reviews_permissions_in_their_order() -> None:
    permissions = [LIST_NODES, GET_PODS, PATCH_SECRETS]
    assert review_permissions(CLUSTER, permissions) == [False, True, False]
    assert find_missing(CLUSTER, iter(permissions)) == [LIST_NODES, PATCH_SECRETS]
    assert find_missing(CLUSTER, []) == []


def test_describes_a_permission() -> None:
    assert str(LIST_NODES) == "list nodes in the whole cluster"
    assert str(PATCH_SECRETS) == "patch secrets in namespace shop"
