"""The index's environment as a ConfigMap where workloads can take it with `envFrom`."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.cluster.client import Cluster
from deploy.lifecycle import connect, record
from deploy.manifests.mirror_objects import render_environment_map
from deploy.manifests.model import ENV_MAP, MANAGED_BY, NAME, is_ours
from mirror.core.errors import InputError, RefusedError
from mirror.settings import Endpoint


def publish_environment(cluster: Cluster, namespace: str, targets: Sequence[str]) -> Endpoint:
    """Put the ConfigMap into each namespace, and remember them. All or nothing is checked first."""
    endpoint = connect.read_endpoint(cluster, namespace)
    for target in targets:
        if cluster.get("Namespace", target) is None:
            raise InputError(
                f"no namespace {target!r} in the cluster",
                next_step=f"kubectl create namespace {target}, or check the name",
            )
        _check_ours(cluster, target)
    # remembered first: a kill in between leaves a name too many, never a ConfigMap forgotten
    record.add_published(cluster, namespace, tuple(targets))
    for target in targets:
        cluster.apply(render_environment_map(target, endpoint))
    return endpoint


def refresh_environment(cluster: Cluster, namespace: str, endpoint: Endpoint) -> None:
    """Bring every published ConfigMap to the endpoint; namespaces that are gone are passed over."""
    for target in record.read(cluster, namespace).published:
        if cluster.get("Namespace", target) is not None:
            cluster.apply(render_environment_map(target, endpoint))


def withdraw_environment(cluster: Cluster, namespace: str) -> tuple[str, ...]:
    """Remove what was published; the namespaces it was removed from."""
    removed = []
    for target in record.read(cluster, namespace).published:
        held = cluster.get("ConfigMap", ENV_MAP, target)
        if held and is_ours(held):
            cluster.delete("ConfigMap", ENV_MAP, target)
            removed.append(target)
    return tuple(removed)


def _check_ours(cluster: Cluster, target: str) -> None:
    held = cluster.get("ConfigMap", ENV_MAP, target)
    if held and not is_ours(held):
        raise RefusedError(
            f"ConfigMap {target}/{ENV_MAP} exists and is not ours",
            why=f"it does not carry the label {MANAGED_BY}={NAME}",
            next_step="rename or remove it, then publish again",
        )
