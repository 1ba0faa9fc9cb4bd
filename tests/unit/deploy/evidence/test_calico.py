"""Calico's objects, read through whichever of its two APIs has them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cluster.calico import find_current_kind, list_calico_objects
from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.calico import IpPool, read_calico, read_ip_pools
from deploy.evidence.unseen import Unseen

V1, V3 = "IPPool", "IPPool.projectcalico.org"
SIX = "fd70:8823:7283::/48"


class FakeCalicoCluster:
    """``responses`` by kind: objects, or the status of an error; other kinds are unknown."""

    def __init__(self, group: str = "", **responses: Any) -> None:
        self.responses = {
            name.replace("_v3", ".projectcalico.org"): value for name, value in responses.items()
        }
        container = {"name": "calico-node", "env": [{"name": "CALICO_API_GROUP", "value": group}]}
        spec = {"selector": {}, "template": {"spec": {"containers": [container]}}}
        self.daemon = {"spec": spec} if group else None

    def list(self, kind: str, *_: Any, **__: Any) -> Any:
        response = self.responses.get(kind, [] if kind == "Pod" else 404)
        if isinstance(response, int):
            raise ApiError(response, "", f"{response} {kind}", "refused", "")
        return response

    def get(self, kind: str, name: str, namespace: str = "") -> Any:
        return self.daemon if (kind, namespace) == ("DaemonSet", "kube-system") else None


def build_cluster(group: str = "", **responses: Any) -> Cluster:
    return cast("Cluster", FakeCalicoCluster(group, **responses))


def build_pool(cidr: str, **meta: Any) -> Any:
    return {"metadata": {"name": "p", **meta}, "spec": {"cidr": cidr}}


OLD, NEW = [build_pool("10.1.0.0/16")], [build_pool(SIX)]


@pytest.mark.parametrize(
    ("cluster", "kind"),
    [
        (build_cluster(IPPool=OLD), V1),
        (build_cluster(IPPool=OLD, IPPool_v3=NEW), V1),
        (build_cluster(IPPool=OLD, IPPool_v3=503), V1),
        (build_cluster(IPPool_v3=NEW), V3),
        (build_cluster(IPPool=403, IPPool_v3=NEW), V3),
        (build_cluster(IPPool=[], IPPool_v3=NEW), V3),
        (build_cluster("crd.projectcalico.org/v1", IPPool=OLD, IPPool_v3=NEW), V1),
        # migrated: the objects in v1 are outdated
        (build_cluster("projectcalico.org/v3", IPPool=OLD, IPPool_v3=NEW), V3),
    ],
)
def test_uses_the_api_that_has_pools(cluster: Cluster, kind: str) -> None:
    assert list_calico_objects(cluster, "IPPool") == (kind, OLD if kind == V1 else NEW)
    assert [pool.kind for pool in cast("tuple[IpPool, ...]", read_ip_pools(cluster))] == [kind]


@pytest.mark.parametrize(
    ("cluster", "kind"),
    [
        (build_cluster(IPPool=[], IPPool_v3=NEW), V1),
        (build_cluster(IPPool=403, IPPool_v3=NEW), V1),
        (build_cluster(IPPool_v3=[]), V3),
        (build_cluster("projectcalico.org/v3", IPPool=OLD, IPPool_v3=NEW), V3),
    ],
)
def test_finds_the_api_in_which_a_pool_can_be_changed(cluster: Cluster, kind: str) -> None:
    assert find_current_kind(cluster, V1) == kind
    assert find_current_kind(cluster, V3) == V3
    assert find_current_kind(cluster, "Deployment") == "Deployment"


def test_names_the_resource_for_kubectl() -> None:
    assert IpPool(name="p", cidr=SIX, kind=V3).resource == "ippools.projectcalico.org"
    assert IpPool(name="p", cidr=SIX).resource == "ippools.crd.projectcalico.org"


def test_reads_no_pools_without_pools_or_calico() -> None:
    assert read_ip_pools(build_cluster(IPPool=[])) == ()
    assert read_ip_pools(build_cluster(IPPool=[], IPPool_v3=403)) == ()
    assert read_ip_pools(build_cluster()) == ()


def test_pools_in_an_etcd_of_calico_are_unseen() -> None:
    """Must not be reported as "no pools"."""
    pools = read_ip_pools(build_cluster("projectcalico.org/v3"))
    assert isinstance(pools, Unseen)
    assert "calicoctl get ippools" in pools.reason


@pytest.mark.parametrize("v3", [404, 403])
def test_names_missing_permissions(v3: int) -> None:
    with pytest.raises(ApiError, match="refused") as refused:
        read_ip_pools(build_cluster(IPPool=403, IPPool_v3=v3))
    assert refused.value.why == "403 IPPool"


def test_ignores_pools_that_are_being_deleted() -> None:
    assert (
        read_ip_pools(
            build_cluster(IPPool_v3=[build_pool(SIX, deletionTimestamp="2026-01-01T00:00:00Z")])
        )
        == ()
    )


def test_reads_felix_through_either_api() -> None:
    felix = [{"metadata": {"name": "default"}, "spec": {"ipv6Support": False}}]
    calico = read_calico(build_cluster(FelixConfiguration_v3=felix))
    assert calico is not None
    assert calico.felix_ipv6 is False


def test_reads_who_asks_for_a_pool_by_its_name() -> None:
    annotation = "cni.projectcalico.org/ipv6pools"
    names = {annotation: '["p", "fd00::/64"]'}
    others = {annotation: '["q"]', "cni.projectcalico.org/ipv4pools": '["p"]'}
    broken = {annotation: "p"}
    spec: dict[str, Any] = {"containers": []}
    cluster = build_cluster(
        IPPool=NEW,
        Namespace=[
            {"metadata": {"name": "media", "annotations": names}},
            {"metadata": {"name": "shop", "annotations": others}},
            {"metadata": {"name": "plain"}},
        ],
        Pod=[
            {"metadata": {"name": "a", "namespace": "x", "annotations": names}, "spec": spec},
            {"metadata": {"name": "b", "namespace": "x", "annotations": broken}, "spec": spec},
        ],
    )
    pools = read_ip_pools(cluster)
    assert not isinstance(pools, Unseen)
    assert [pool.named_by for pool in pools] == [("namespace media", "pod x/a")]


def test_pools_are_read_without_the_right_to_list_namespaces() -> None:
    pools = read_ip_pools(build_cluster(IPPool=NEW, Namespace=403))
    assert not isinstance(pools, Unseen)
    assert [pool.named_by for pool in pools] == [()]


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ({}, "none"),
        ({"ipipMode": "Never", "vxlanMode": "Never"}, "none"),
        ({"ipipMode": "Always", "vxlanMode": "Never"}, "ipip"),
        ({"ipipMode": "Never", "vxlanMode": "CrossSubnet"}, "vxlan"),
    ],
)
def test_reads_the_encapsulation_of_a_pool(modes: dict[str, str], expected: str) -> None:
    pool = build_pool("10.1.0.0/16")
    pool["spec"] |= modes
    pools = read_ip_pools(build_cluster(IPPool=[pool]))
    assert isinstance(pools, tuple)
    assert [each.mode for each in pools] == [expected]
