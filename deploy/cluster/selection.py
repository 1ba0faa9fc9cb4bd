"""Pods by the labels that choose them."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.cluster.client import Cluster, Object


def format_selector(labels: Mapping[str, str]) -> str:
    """Labels as a query has them: app=web,tier=front."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def list_pods(cluster: Cluster, workload: Object, namespace: str) -> list[Object]:
    """The pods that a Deployment, StatefulSet or DaemonSet chooses."""
    chosen = workload["spec"]["selector"].get("matchLabels") or {}
    return cluster.list("Pod", namespace, labels=format_selector(chosen))
