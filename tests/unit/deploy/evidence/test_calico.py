"""Calico's pools, by whichever API of the two has them."""

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
    """``answers`` by kind: objects, or the status of a refusal. All other kinds are not known."""

    def __init__(self, group: str = "", **answers: Any) -> None:
        self.answers = {name.replace("_v3", ".projectcalico.org"): a for name, a in answers.items()}
        container = {"name": "calico-node", "env": [{"name": "CALICO_API_GROUP", "value": group}]}
        spec = {"selector": {}, "template": {"spec": {"containers": [container]}}}
        self.daemon = {"spec": spec} if group else None

    def list(self, kind: str, *_: Any, **__: Any) -> Any:
        told = self.answers.get(kind, [] if kind == "Pod" else 404)
        if isinstance(told, int):
            raise ApiError(told, "", f"{told} {kind}", "refused", "")
        return told

    def get(self, kind: str, name: str, namespace: str = "") -> Any:
        return self.daemon if (kind, namespace) == ("DaemonSet", "kube-system") else None


def cluster(group: str = "", **answers: Any) -> Cluster:
    return cast("Cluster", FakeCalicoCluster(group, **answers))


def pool(cidr: str, **meta: Any) -> Any:
    return {"metadata": {"name": "p", **meta}, "spec": {"cidr": cidr}}


OLD, NEW = [pool("10.1.0.0/16")], [pool(SIX)]


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (cluster(IPPool=OLD), V1),
        (cluster(IPPool=OLD, IPPool_v3=NEW), V1),
        (cluster(IPPool=OLD, IPPool_v3=503), V1),
        (cluster(IPPool_v3=NEW), V3),
        (cluster(IPPool=403, IPPool_v3=NEW), V3),
        (cluster(IPPool=[], IPPool_v3=NEW), V3),
        (cluster("crd.projectcalico.org/v1", IPPool=OLD, IPPool_v3=NEW), V1),
        # migrated: what is in v1 is of before
        (cluster("projectcalico.org/v3", IPPool=OLD, IPPool_v3=NEW), V3),
    ],
)
def test_the_api_that_shows_any_is_taken(there: Cluster, kind: str) -> None:
    found = list_calico_objects(there, "IPPool")
    assert found == (kind, OLD if kind == V1 else NEW)
    assert [one.kind for one in cast("tuple[IpPool, ...]", read_ip_pools(there))] == [kind]


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (cluster(IPPool=[], IPPool_v3=NEW), V1),
        (cluster(IPPool=403, IPPool_v3=NEW), V1),
        (cluster(IPPool_v3=[]), V3),
        (cluster("projectcalico.org/v3", IPPool=OLD, IPPool_v3=NEW), V3),
    ],
)
def test_what_was_changed_in_v1_is_reached_there_while_it_is_the_store(
    there: Cluster, kind: str
) -> None:
    assert find_current_kind(there, V1) == kind
    assert find_current_kind(there, V3) == V3
    assert find_current_kind(there, "Deployment") == "Deployment"


def test_kubectl_is_told_which() -> None:
    assert IpPool(name="p", cidr=SIX, kind=V3).resource == "ippools.projectcalico.org"
    assert IpPool(name="p", cidr=SIX).resource == "ippools.crd.projectcalico.org"


def test_no_pool_and_no_calico_are_none() -> None:
    assert read_ip_pools(cluster(IPPool=[])) == ()
    assert read_ip_pools(cluster(IPPool=[], IPPool_v3=403)) == ()
    assert read_ip_pools(cluster()) == ()


def test_a_calico_whose_pools_are_in_neither_is_not_without() -> None:
    """They are in an etcd of its own: that there are none must not be said."""
    seen = read_ip_pools(cluster("projectcalico.org/v3"))
    assert isinstance(seen, Unseen)
    assert "calicoctl get ippools" in seen.reason


@pytest.mark.parametrize("v3", [404, 403])
def test_rights_that_are_missing_are_named(v3: int) -> None:
    with pytest.raises(ApiError, match="refused") as refused:
        read_ip_pools(cluster(IPPool=403, IPPool_v3=v3))
    assert refused.value.why == "403 IPPool"


def test_a_pool_that_is_being_deleted_gives_nothing() -> None:
    assert (
        read_ip_pools(cluster(IPPool_v3=[pool(SIX, deletionTimestamp="2026-01-01T00:00:00Z")]))
        == ()
    )


def test_felix_is_read_by_the_same_door() -> None:
    felix = [{"metadata": {"name": "default"}, "spec": {"ipv6Support": False}}]
    found = read_calico(cluster(FelixConfiguration_v3=felix))
    assert found is not None
    assert found.felix_ipv6 is False
