"""Each right that a fix needs, missing in turn: named before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.changes import lease, ledger
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster
from deploy.evidence.collect import CollectOptions
from deploy.registry import load_fixes
from deploy.repair import apply
from deploy.repair.corefile_trial import required_permissions as trial_rights
from deploy.repair.model import FixRequest
from deploy.repair.plan import plan_fixes
from mirror.core.errors import MirrorError
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.fix_targets import COREFILE, FixTargets
from tests.cluster.fixtures import START_ERRORS, skip_or_fail
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster

SYSTEM = "kube-system"
API_GROUPS = {"leases": "coordination.k8s.io", "deployments": "apps", "daemonsets": "apps"}
# what looking needs, besides what writing does
EVIDENCE_RIGHTS = (
    ("list", "nodes"),
    ("get", "services"),
    ("list", "pods"),
    ("list", "deployments"),
    ("list", "daemonsets"),
    ("get", "daemonsets"),
)
NEEDED_RIGHTS = sorted(
    {
        (right.verb, right.resource)
        for right in (
            *ledger.PERMISSIONS,
            *lease.PERMISSIONS,
            *trial_rights(SYSTEM),
            # the Corefile of this test has no `reload`: CoreDNS would be restarted
            Permission(verb="get", resource="deployments", namespace=SYSTEM),
            Permission(verb="update", resource="deployments", namespace=SYSTEM),
        )
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    try:
        with api_server() as up:
            yield up
    except START_ERRORS as error:
        skip_or_fail(error)


@pytest.fixture(scope="module")
def world(server: ApiServer) -> FixTargets:
    made = FixTargets(server.admin)
    made.recreate()
    made.write_corefile(".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n")
    labels = {"k8s-app": "kube-dns"}
    container = {"name": "coredns", "image": "coredns:1"}
    volume = {"name": "config", "configMap": {"name": COREFILE.name}}
    pod = {"containers": [container], "volumes": [volume]}
    made.connect().create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "coredns", "namespace": SYSTEM},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
    )
    return made


def grant_rights(server: ApiServer, rights: list[tuple[str, str]]) -> Cluster:
    """Give the limited user these rights and no others, and wait until it is so."""
    rules: list[Any] = [
        {
            "apiGroups": [API_GROUPS.get(resource, "")],
            "resources": [resource],
            "verbs": [verb],
        }
        for verb, resource in rights
    ]
    rules.append({"nonResourceURLs": ["/version"], "verbs": ["get"]})
    meta = {"name": "limited"}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta}
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {
            "kind": "ClusterRole",
            "name": "limited",
            "apiGroup": "rbac.authorization.k8s.io",
        },
    }
    items = [{**role, "rules": rules}, binding]
    server.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
    )
    cluster = FixTargets(server.limited).connect()
    every = {*NEEDED_RIGHTS, *EVIDENCE_RIGHTS}
    wait_for(
        "the rights to be taken up",
        lambda: all(cluster.is_allowed(*one, SYSTEM) is (one in rights) for one in every),
        timeout=60,
        interval=0.1,
    )
    return cluster


def run_fix(cluster: Cluster) -> str:
    """`mirror fix dns` by this user; what it said, for it cannot get through without nodes."""
    request = FixRequest(
        fixes=(load_fixes()["dns"],), options={}, look=CollectOptions(namespace="pypi-mirror")
    )
    with pytest.raises(MirrorError) as failed:
        planned = plan_fixes(cluster, request)
        apply.apply_plan(cluster, request, planned)
    return "\n".join((failed.value.what, failed.value.why))


@pytest.mark.parametrize("missing", NEEDED_RIGHTS, ids=lambda right: " ".join(right))
def test_what_is_missing_is_named_and_nothing_is_written(
    server: ApiServer, world: FixTargets, missing: tuple[str, str]
) -> None:
    rights = [one for one in {*NEEDED_RIGHTS, *EVIDENCE_RIGHTS} if one != missing]
    before = read_resource_versions(world)
    said = run_fix(grant_rights(server, rights))
    verb, resource = missing
    assert f"{verb} {resource}" in said or f'cannot {verb} resource "{resource}"' in said
    assert read_resource_versions(world) == before


def read_resource_versions(world: FixTargets) -> dict[str, str]:
    """Every object that could have been written, with its version."""
    cluster = world.connect()
    return {
        f"{kind}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for kind in ("ConfigMap", "Pod", "Deployment")
        for one in cluster.list(kind, SYSTEM)
    } | {"lease": str(cluster.get("Lease", lease.LEASE_NAME, SYSTEM))}
