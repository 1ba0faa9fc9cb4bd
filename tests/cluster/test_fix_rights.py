"""`mirror fix` lacking one right: the right is named before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.changes import lease, ledger
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster
from deploy.evidence.collect import CollectOptions
from deploy.fix_registry import load_fixes
from deploy.repair import apply
from deploy.repair.corefile_trial import required_permissions as trial_rights
from deploy.repair.model import FixRequest
from deploy.repair.plan import plan_fixes
from mirror.core.errors import MirrorError
from tests.cluster.apiserver import ApiServer
from tests.cluster.objects import build_cluster_role, render_list
from tests.cluster.waiting import wait_for
from tests.fix_targets import COREFILE, FixTargets

pytestmark = pytest.mark.cluster

SYSTEM = "kube-system"
API_GROUPS = {"leases": "coordination.k8s.io", "deployments": "apps", "daemonsets": "apps"}
# what collecting evidence needs, besides the rights for writing
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
def targets(api_server: ApiServer) -> FixTargets:
    targets = FixTargets.of_kubeconfig(api_server.admin)
    targets.recreate()
    targets.write_corefile(".:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n")
    labels = {"k8s-app": "kube-dns"}
    container = {"name": "coredns", "image": "coredns:1"}
    volume = {"name": "config", "configMap": {"name": COREFILE.name}}
    pod_spec = {"containers": [container], "volumes": [volume]}
    targets.connect().create(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "coredns", "namespace": SYSTEM},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec},
            },
        }
    )
    return targets


def grant_rights(api_server: ApiServer, rights: list[tuple[str, str]]) -> Cluster:
    """Grant the limited user these rights and no others, and wait until they apply."""
    rules: list[Any] = [
        {
            "apiGroups": [API_GROUPS.get(resource, "")],
            "resources": [resource],
            "verbs": [verb],
        }
        for verb, resource in rights
    ]
    rules.append({"nonResourceURLs": ["/version"], "verbs": ["get"]})
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "User", "name": "limited", "apiGroup": group}
    roles = build_cluster_role("limited", rules, subject)
    api_server.kubectl("apply", "-f", "-", stdin=render_list(roles))
    cluster = FixTargets.of_kubeconfig(api_server.limited).connect()
    reviewed = {*NEEDED_RIGHTS, *EVIDENCE_RIGHTS}
    wait_for(
        "the rights to apply",
        lambda: all(cluster.is_allowed(*right, SYSTEM) is (right in rights) for right in reviewed),
        timeout=60,
        interval=0.1,
    )
    return cluster


def run_fix(cluster: Cluster) -> str:
    """Run `mirror fix dns` as this user and return the error: without nodes it always fails."""
    request = FixRequest(
        fixes=(load_fixes()["dns"],), options={}, look=CollectOptions(namespace="pypi-mirror")
    )
    with pytest.raises(MirrorError) as error:
        plan = plan_fixes(cluster, request)
        apply.apply_plan(cluster, request, plan)
    return "\n".join((error.value.what, error.value.why))


@pytest.mark.parametrize("missing", NEEDED_RIGHTS, ids=lambda right: " ".join(right))
def test_names_a_missing_right_and_writes_nothing(
    api_server: ApiServer, targets: FixTargets, missing: tuple[str, str]
) -> None:
    rights = [right for right in {*NEEDED_RIGHTS, *EVIDENCE_RIGHTS} if right != missing]
    before = read_resource_versions(targets)
    message = run_fix(grant_rights(api_server, rights))
    verb, resource = missing
    assert f"{verb} {resource}" in message or f'cannot {verb} resource "{resource}"' in message
    assert read_resource_versions(targets) == before


def read_resource_versions(targets: FixTargets) -> dict[str, str]:
    """Return KIND/NAME → resourceVersion of everything that a fix could write."""
    cluster = targets.connect()
    return {
        f"{kind}/{obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for kind in ("ConfigMap", "Pod", "Deployment")
        for obj in cluster.list(kind, SYSTEM)
    } | {"lease": str(cluster.get("Lease", lease.LEASE_NAME, SYSTEM))}
