"""Rules of a namespace that the mirror's pod would break, on a real API server."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from deploy.cluster.cidrs import find_cluster_cidrs
from deploy.cluster.client import Cluster
from deploy.lifecycle.preflight import check_admission
from deploy.manifests.model import ClusterSettings
from mirror.core.errors import RefusedError
from mirror.core.wait import Deadline
from tests.cluster.apiserver import ApiServer

pytestmark = pytest.mark.cluster

LIMITS: dict[str, Any] = {
    "type": "Container",
    "min": {"cpu": "100m", "memory": "128Mi"},
    "max": {"cpu": "1", "memory": "768Mi"},
    "maxLimitRequestRatio": {"memory": "2"},
}
QUOTA = {"pods": "1", "limits.cpu": "2", "limits.memory": "1Gi"}


def connect(api_server: ApiServer) -> Cluster:
    warnings.simplefilter("ignore")  # the test server has a self-signed certificate
    return Cluster.connect(kubeconfig=api_server.admin, context=None, deadline=Deadline.after(60))


def check(api_server: ApiServer, namespace: str) -> None:
    cluster = connect(api_server)
    check_admission(cluster, ClusterSettings(image="", namespace=namespace))


def make_namespace(api_server: ApiServer, name: str, *objects: dict[str, Any]) -> None:
    """Make a namespace with its ServiceAccount, which a controller would make, and its rules."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api_server.kubectl("create", "namespace", name)
    items = [account, *objects]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    api_server.kubectl("-n", name, "apply", "-f", "-", stdin=document)


def make_quota(api_server: ApiServer, namespace: str, **used: str) -> None:
    """Make a quota with the status that a controller would write."""
    status = {"hard": QUOTA, "used": dict.fromkeys(QUOTA, "0") | used}
    api_server.kubectl(
        *("-n", namespace, "patch", "resourcequota", "rules", "--subresource=status"),
        *("-p", json.dumps({"status": status})),
    )


def new_rule(kind: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "rules"}, "spec": spec}


def test_a_namespace_without_rules_admits_the_mirror(api_server: ApiServer) -> None:
    check(api_server, "not-made-yet")
    make_namespace(api_server, "open")
    check(api_server, "open")


def test_pod_security_restricted_admits_the_mirror(api_server: ApiServer) -> None:
    make_namespace(api_server, "strict")
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    api_server.kubectl("label", "namespace", "strict", enforce)
    check(api_server, "strict")


def test_a_limit_range_is_named_with_its_values(api_server: ApiServer) -> None:
    make_namespace(api_server, "limited", new_rule("LimitRange", limits=[LIMITS]))
    with pytest.raises(
        RefusedError, match="namespace limited does not admit the mirror's pod"
    ) as e:
        check(api_server, "limited")
    assert "maximum memory usage per Container is 768Mi, but limit is 1Gi" in e.value.why
    assert "memory max limit to request ratio per Container is 2" in e.value.why
    assert "kubectl -n limited describe limitranges,resourcequotas" in e.value.next_step


def test_a_quota_is_named_with_its_values(api_server: ApiServer) -> None:
    make_namespace(api_server, "counted", new_rule("ResourceQuota", hard=QUOTA))
    make_quota(api_server, "counted")
    with pytest.raises(RefusedError) as error:
        check(api_server, "counted")
    assert "exceeded quota: rules" in error.value.why
    assert "limited: limits.cpu=2,limits.memory=1Gi" in error.value.why


def test_a_mirror_that_runs_already_is_not_counted_twice(api_server: ApiServer) -> None:
    make_namespace(api_server, "running", new_rule("ResourceQuota", hard=QUOTA))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pypi-mirror-0"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    api_server.kubectl("-n", "running", "apply", "-f", "-", stdin=json.dumps(pod))
    make_quota(api_server, "running", pods="1")
    check(api_server, "running")


def test_the_api_servers_addresses_are_excluded(api_server: ApiServer) -> None:
    """No node has the address of this API server."""
    cluster = connect(api_server)
    endpoints = api_server.kubectl(
        *("get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes"),
        *("-o", "jsonpath={.items[*].endpoints[*].addresses[0]}"),
    )
    assert endpoints
    assert f"{endpoints.split()[0]}/32" in find_cluster_cidrs(cluster, [])
