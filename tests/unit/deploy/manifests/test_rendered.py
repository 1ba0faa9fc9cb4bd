"""Every object that is rendered, field by field, as tests/unit/cases/manifests writes it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.evidence import probe_pods
from deploy.manifests.agent import render_agent_daemon_set
from deploy.manifests.application import render_application
from deploy.manifests.jobs import render_verify_pod, render_warm_job
from deploy.manifests.mirror_objects import render_objects, render_secret
from deploy.manifests.model import ClusterSettings
from deploy.manifests.pods import render_probe_pod
from deploy.manifests.reconciler import ReconciledObject, render_reconciler_objects
from deploy.repair.corefile_trial import _render_pod
from images.application_recipe import load_application_recipe
from images.recipes import RECIPES

CASES = Path(__file__).parents[2] / "cases/manifests"
DEFAULTS = ClusterSettings(image="pypi-mirror:1")
FULL = ClusterSettings(
    image="pypi-mirror:1",
    namespace="packages",
    port=3200,
    node_port=30200,
    size="5Gi",
    storage_class="fast",
    node="anubis",
    pull_secret="registry",
    upstream="http://index.example/simple/",
    ca_pem="PEM",
    cluster_ip="10.152.183.7",
    cluster_cidrs=("10.1.0.0/16", "10.152.183.0/24"),
)


def reconciled(group: str, plural: str, name: str, namespace: str | None) -> ReconciledObject:
    return ReconciledObject(
        title=name,
        ledger_entry=f"entry-{name}",
        path=f"/path/of/{name}",
        group=group,
        plural=plural,
        name=name,
        namespace=namespace,
    )


TARGETS = (
    reconciled("", "configmaps", "coredns", "kube-system"),
    reconciled("apps", "deployments", "web", "shop"),
    reconciled("crd.projectcalico.org", "ippools", "six", None),
)
COREDNS = {
    "metadata": {"annotations": {"note": "kept"}, "labels": {"k8s-app": "kube-dns"}},
    "spec": {
        "serviceAccountName": "coredns",
        "hostNetwork": True,
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "affinity": {"podAntiAffinity": {}, "nodeAffinity": {"kept": True}},
        "containers": [
            {
                "name": "coredns",
                "securityContext": {"readOnlyRootFilesystem": True},
                "livenessProbe": {"httpGet": {"path": "/health"}},
                "readinessProbe": {"httpGet": {"path": "/ready"}},
                "ports": [{"containerPort": 53, "hostPort": 53}],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "coredns"}},
            {"name": "other", "configMap": {"name": "other"}},
            {"name": "all", "projected": {"sources": [{"configMap": {"name": "coredns"}}]}},
        ],
    },
}


def render_evidence_pod() -> Any:
    pod = probe_pods.render_pod("pypi-mirror:1", "home", "anubis", ["dns"])
    name, _, suffix = pod["metadata"]["name"].rpartition("-")
    assert len(suffix) == 6
    pod["metadata"]["name"] = f"{name}-SUFFIX"
    return pod


def render() -> Mapping[str, Iterable[Any]]:
    return {
        "mirror-defaults": render_objects(DEFAULTS),
        "mirror-full": render_objects(FULL),
        "secret": [render_secret("packages", {"root-password": "p", "secretfile": "s"})],
        "probe-pod": [render_probe_pod(FULL, name="probe", node="anubis", command=["true"])],
        "evidence-pod": [render_evidence_pod()],
        "verify-pod": [
            render_verify_pod(FULL, name="v", node="anubis", repair=True, root_url="http://m/"),
            render_verify_pod(FULL, name="v", node="", repair=False, root_url="http://m/"),
        ],
        "warm-job": [render_warm_job(FULL, name="warm-1", index_url="http://m/", concurrency=4)],
        "node-agent": [render_agent_daemon_set("pypi-mirror:1", microk8s=False)],
        "node-agent-microk8s": [render_agent_daemon_set("pypi-mirror:1", microk8s=True)],
        "reconciler": render_reconciler_objects("pypi-mirror:1", TARGETS),
        "reconciler-without-targets": render_reconciler_objects("pypi-mirror:1", []),
        "corefile-trial": [_render_pod(COREDNS, "kube-system", "trial", {"coredns": "copy"})],
        "chronicle": render_application(
            load_application_recipe(RECIPES / "chronicle.toml"), "chronicle:1", ("sha256:1",)
        ),
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.yaml")))
def test_renders_exactly_these_objects(name: str) -> None:
    expected = list(yaml.safe_load_all((CASES / f"{name}.yaml").read_text()))
    objects = [drop_nginx_config(obj) for obj in render()[name]]
    assert objects == expected


def test_every_rendered_object_is_written_out() -> None:
    assert set(render()) == {path.stem for path in CASES.glob("*.yaml")}


def drop_nginx_config(obj: Any) -> Any:
    """The configuration has its own cases, and the digest follows it."""
    if obj["kind"] == "ConfigMap" and "nginx.conf" in obj["data"]:
        assert obj["data"].keys() == {"nginx.conf"}
        return obj | {"data": {"nginx.conf": "tests/unit/cases/nginx/cluster.conf"}}
    if obj["kind"] == "StatefulSet":
        digest = obj["spec"]["template"]["metadata"]["annotations"]["pypi-mirror/config"]
        assert len(digest) == 16
        obj["spec"]["template"]["metadata"]["annotations"]["pypi-mirror/config"] = "DIGEST"
    return obj
