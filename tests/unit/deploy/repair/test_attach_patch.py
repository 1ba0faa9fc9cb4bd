"""Workloads that a tool keeps are not written: the patch to commit is given instead."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.changes.model import ObjectSpec
from deploy.cluster.client import Cluster
from deploy.repair.attach import AttachRequest, plan_attach
from deploy.repair.attach_patch import build_patch
from tests.kubernetes_api import DirectCluster, MemoryApi

FLUX = {"kustomize.toolkit.fluxcd.io/name": "shop"}
INDEX = {"configMapRef": {"name": "pypi-mirror-env"}}


def new_deployment(name: str, labels: dict[str, str], **pod: Any) -> dict[str, Any]:
    containers = [
        {"name": "main", "image": "i", "envFrom": [{"configMapRef": {"name": "app"}}]},
        {"name": "side", "image": "i", "envFrom": [INDEX]},
    ]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def make_cluster() -> Cluster:
    api = MemoryApi()
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    api.seed(new_deployment("kept", FLUX))
    api.seed(new_deployment("charted", {"app.kubernetes.io/managed-by": "Helm"}))
    return DirectCluster(api)


def request(*, force: bool = False, ndots: bool = False) -> AttachRequest:
    return AttachRequest(names=(), namespace="shop", force=force, ndots=ndots)


def test_gives_the_patch_of_a_kept_workload_and_writes_the_others() -> None:
    plan = plan_attach(make_cluster(), request())
    assert [str(update.target) for update in plan.updates] == ["Deployment shop/charted"]
    (patch,) = plan.patches
    assert (patch.workload, patch.manager) == ("Deployment shop/kept", "Flux")
    assert patch.patch == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "kept", "namespace": "shop"},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "envFrom": [{"configMapRef": {"name": "app"}}, INDEX],
                        }
                    ]
                }
            }
        },
    }


def test_force_writes_a_kept_workload() -> None:
    plan = plan_attach(make_cluster(), request(force=True))
    targets = {str(update.target) for update in plan.updates}
    assert targets == {"Deployment shop/charted", "Deployment shop/kept"}
    assert plan.patches == ()


def test_the_patch_has_dns_config_with_ndots() -> None:
    plan = plan_attach(make_cluster(), request(ndots=True))
    spec = plan.patches[0].patch["spec"]["template"]["spec"]
    assert spec["dnsConfig"] == {"options": [{"name": "ndots", "value": "1"}]}


def test_the_patch_of_a_cron_job_has_its_job_template() -> None:
    obj = new_deployment("nightly", FLUX)
    obj["spec"] = {"schedule": "@daily", "jobTemplate": {"spec": obj["spec"]}}
    target = ObjectSpec(kind="CronJob", name="nightly", namespace="shop")
    patch = build_patch(target, obj, "Flux", index=True, ndots=False)
    assert patch is not None
    assert patch.patch["apiVersion"] == "batch/v1"
    pod = patch.patch["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ["main"]


@pytest.mark.parametrize("kind", ["initContainers", "containers"])
def test_nothing_to_commit_for_a_workload_that_has_it(kind: str) -> None:
    obj = new_deployment("kept", FLUX)
    pod = obj["spec"]["template"]["spec"]
    pod["containers"] = [{"name": "main", "envFrom": [INDEX]}]
    target = ObjectSpec(kind="Deployment", name="kept", namespace="shop")
    assert build_patch(target, obj, "Flux", index=True, ndots=False) is None
    pod[kind] = [{"name": "late"}]
    patch = build_patch(target, obj, "Flux", index=True, ndots=False)
    assert patch is not None
    spec = patch.patch["spec"]["template"]["spec"]
    assert spec == {kind: [{"name": "late", "envFrom": [INDEX]}]}
