"""Each right that a fix needs, missing in turn: named before anything is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deploy import repair
from deploy.changes import lease, ledger
from deploy.changes.model import Right
from deploy.cluster.client import Cluster
from deploy.evidence.collect import Look
from deploy.planned import Request, known
from deploy.trial import rights as trial_rights
from mirror.core.errors import MirrorError
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.changing import COREFILE, World
from tests.cluster.fixtures import CANNOT_START, give_up
from tests.cluster.waiting import wait_for

pytestmark = pytest.mark.cluster

SYSTEM = "kube-system"
GROUPS = {"leases": "coordination.k8s.io", "deployments": "apps", "daemonsets": "apps"}
# what looking needs, besides what writing does
LOOKING = (
    ("list", "nodes"),
    ("get", "services"),
    ("list", "pods"),
    ("list", "deployments"),
    ("list", "daemonsets"),
    ("get", "daemonsets"),
)
NEEDED = sorted(
    {
        (right.verb, right.resource)
        for right in (
            *ledger.RIGHTS,
            *lease.RIGHTS,
            *trial_rights(SYSTEM),
            # the Corefile of this test has no `reload`: CoreDNS would be restarted
            Right(verb="get", resource="deployments", namespace=SYSTEM),
            Right(verb="update", resource="deployments", namespace=SYSTEM),
        )
    }
)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    try:
        with api_server() as up:
            yield up
    except CANNOT_START as error:
        give_up(error)


@pytest.fixture(scope="module")
def world(server: ApiServer) -> World:
    made = World(server.admin)
    made.make()
    made.write_corefile(".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n")
    labels = {"k8s-app": "kube-dns"}
    container = {"name": "coredns", "image": "coredns:1"}
    volume = {"name": "config", "configMap": {"name": COREFILE.name}}
    pod = {"containers": [container], "volumes": [volume]}
    made.cluster().create(
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


def grant(server: ApiServer, rights: list[tuple[str, str]]) -> Cluster:
    """Give the limited user these rights and no others, and wait until it is so."""
    rules: list[Any] = [
        {
            "apiGroups": [GROUPS.get(resource, "")],
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
    cluster = World(server.limited).cluster()
    every = {*NEEDED, *LOOKING}
    wait_for(
        "the rights to be taken up",
        lambda: all(cluster.allowed(*one, SYSTEM) is (one in rights) for one in every),
        timeout=60,
        interval=0.1,
    )
    return cluster


def fix(cluster: Cluster) -> str:
    """`mirror fix dns` by this user; what it said, for it cannot get through without nodes."""
    request = Request(fixes=(known()["dns"],), options={}, look=Look(namespace="pypi-mirror"))
    with pytest.raises(MirrorError) as failed:
        planned = repair.plan(cluster, request)
        repair.carry_out(cluster, request, planned)
    return "\n".join((failed.value.what, failed.value.why))


@pytest.mark.parametrize("missing", NEEDED, ids=lambda right: " ".join(right))
def test_what_is_missing_is_named_and_nothing_is_written(
    server: ApiServer, world: World, missing: tuple[str, str]
) -> None:
    rights = [one for one in {*NEEDED, *LOOKING} if one != missing]
    before = versions(world)
    said = fix(grant(server, rights))
    verb, resource = missing
    assert f"{verb} {resource}" in said or f'cannot {verb} resource "{resource}"' in said
    assert versions(world) == before


def versions(world: World) -> dict[str, str]:
    """Every object that could have been written, with its version."""
    cluster = world.cluster()
    return {
        f"{kind}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for kind in ("ConfigMap", "Pod", "Deployment")
        for one in cluster.list(kind, SYSTEM)
    } | {"lease": str(cluster.get("Lease", lease.LEASE, SYSTEM))}
