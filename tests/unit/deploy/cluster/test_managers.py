"""Which tool keeps an object."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cluster.managers import find_manager

DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1"}


@pytest.mark.parametrize(
    ("metadata", "manager"),
    [
        ({}, ""),
        ({"labels": {"app": "web"}, "annotations": None}, ""),
        ({"annotations": {"objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Addon"}}, "k3s"),
        ({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}}, "the add-on manager"),
        ({"labels": {"addonmanager.kubernetes.io/mode": "EnsureExists"}}, ""),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment"}}, "Argo CD"),
        ({"labels": {"argocd.argoproj.io/application-set-name": "shops"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm"),
        ({"labels": {"kapp.k14s.io/app": "1"}}, "kapp"),
        ({"ownerReferences": [DEPLOYMENT | {"controller": True}]}, "Deployment web"),
        ({"ownerReferences": [DEPLOYMENT]}, ""),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}, "Argo CD"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "pypi-mirror"}}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "pulumi"}}, "pulumi"),
        (
            {
                "labels": {
                    "app.kubernetes.io/managed-by": "Helm",
                    "app.kubernetes.io/instance": "shop-prod",
                }
            },
            "Argo CD, or another tool that applies the chart of shop-prod",
        ),
        (
            {
                "labels": {
                    "app.kubernetes.io/managed-by": "Helm",
                    "app.kubernetes.io/instance": "shop-prod",
                },
                "annotations": {"meta.helm.sh/release-name": "shop-prod"},
            },
            "Helm",
        ),
    ],
)
def test_names_the_tool_that_keeps_an_object(metadata: dict[str, Any], manager: str) -> None:
    assert find_manager({"metadata": metadata}) == manager
