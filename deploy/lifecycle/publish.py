"""Publish the mirror's environment as a ConfigMap that workloads take with `envFrom`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.cluster.client import Cluster
from deploy.lifecycle import connect, record
from deploy.manifests.mirror_objects import render_environment_map
from deploy.manifests.model import ENV_MAP, MANAGED_BY, NAME, is_ours
from mirror.core.errors import InputError, RefusedError
from mirror.settings import Endpoint


def publish_environment(cluster: Cluster, namespace: str, targets: Sequence[str]) -> Endpoint:
    """Put the ConfigMap into the target namespaces and record them.

    All targets are checked before the first write. Raises InputError for a namespace that does not
    exist, RefusedError for a ConfigMap of that name that is not ours.
    """
    endpoint = connect.read_endpoint(cluster, namespace)
    for target in targets:
        if cluster.get("Namespace", target) is None:
            raise InputError(
                f"no namespace {target!r} in the cluster",
                next_step=f"kubectl create namespace {target}, or check the name",
            )
        config_map = cluster.get("ConfigMap", ENV_MAP, target)
        if config_map and not is_ours(config_map):
            raise RefusedError(
                f"ConfigMap {target}/{ENV_MAP} exists and is not ours",
                why=f"it does not carry the label {MANAGED_BY}={NAME}",
                next_step="rename or remove it, then publish again",
            )
    # recorded first: an interruption may leave an unused name, never an unrecorded ConfigMap
    old = record.read(cluster, namespace)
    published = tuple(sorted({*old.published, *targets}))
    record.write(cluster, namespace, replace(old, published=published))
    for target in targets:
        cluster.apply(render_environment_map(target, endpoint))
    return endpoint


def refresh_environment(cluster: Cluster, namespace: str, endpoint: Endpoint) -> None:
    """Update every published ConfigMap to the endpoint; skip namespaces that are gone."""
    for target in record.read(cluster, namespace).published:
        if cluster.get("Namespace", target) is not None:
            cluster.apply(render_environment_map(target, endpoint))


def withdraw_environment(cluster: Cluster, namespace: str) -> tuple[str, ...]:
    """Delete the published ConfigMaps; returns the namespaces that had one."""
    removed = []
    for target in record.read(cluster, namespace).published:
        config_map = cluster.get("ConfigMap", ENV_MAP, target)
        if config_map and is_ours(config_map):
            cluster.delete("ConfigMap", ENV_MAP, target)
            removed.append(target)
    return tuple(removed)
