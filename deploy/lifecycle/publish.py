"""Publish the mirror's environment as a ConfigMap that workloads take with `envFrom`.

A ConfigMap of that name that is another mirror's, or nobody's, is never written or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.evidence.publications import find_owner, read_identity, read_published_namespaces
from deploy.lifecycle import connect, record
from deploy.manifests.model import ENV_MAP
from deploy.manifests.publications import (
    RECORD_NAMESPACE,
    MirrorIdentity,
    record_name,
    render_publication,
    render_publications,
)
from deploy.manifests.record import MirrorRecord
from mirror.core.errors import ClusterError, InputError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.settings import Endpoint


def publish_environment(
    cluster: Cluster, namespace: str, targets: Sequence[str], *, dry_run: bool = False
) -> Endpoint:
    """Put the ConfigMap into the target namespaces and record them.

    All targets are checked before the first write; a ``dry_run`` ends there. Raises InputError for
    a namespace that does not exist, RefusedError for a ConfigMap that is not this mirror's.
    """
    endpoint = connect.read_endpoint(cluster, namespace)
    old = record.read(cluster, namespace)
    mirror = read_identity(cluster, namespace)
    for target in targets:
        _check_target(cluster, target, mirror, old)
    if dry_run:
        return endpoint
    # recorded first: an interruption may leave an unused name, never an unrecorded ConfigMap
    _write_record(cluster, mirror, old, targets)
    for target in targets:
        cluster.apply(render_publication(target, endpoint, mirror))
    return endpoint


def adopt_publications(cluster: Cluster, namespace: str, progress: Progress = SILENT) -> bool:
    """Record in kube-system where mirror 0.1.0 published, while its old address is still known.

    Returns whether it could: a user without the right to do so leaves it to the next one.
    """
    try:
        _write_record(
            cluster, read_identity(cluster, namespace), record.read(cluster, namespace), ()
        )
    except ClusterError as error:
        progress.note(str(error))
        return False
    return True


def refresh_environment(
    cluster: Cluster, namespace: str, endpoint: Endpoint, progress: Progress = SILENT
) -> None:
    """Update every published ConfigMap to the endpoint; skip namespaces that are gone.

    What cannot be updated is noted, and the rest is done.
    """
    current = record.read(cluster, namespace)
    mirror = read_identity(cluster, namespace)
    for target in _read_namespaces(cluster, namespace, current, progress):
        obj = cluster.get("Namespace", target)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            continue
        try:
            config_map = cluster.get("ConfigMap", ENV_MAP, target)
            if config_map is not None:
                owner = find_owner(cluster, config_map, mirror, current)
                if owner.whose != "ours":
                    progress.note(f"ConfigMap {target}/{ENV_MAP} is {owner.whose}: left as it is")
                    continue
            cluster.apply(render_publication(target, endpoint, mirror))
        except ApiError as error:
            progress.note(f"ConfigMap {target}/{ENV_MAP} is not updated: {error}")


def withdraw_environment(
    cluster: Cluster, namespace: str, progress: Progress = SILENT
) -> tuple[str, ...]:
    """Delete the published ConfigMaps and the record; returns the namespaces that had one."""
    current = record.read(cluster, namespace)
    mirror = read_identity(cluster, namespace)
    removed = []
    for target in _read_namespaces(cluster, namespace, current, progress):
        try:
            config_map = cluster.get("ConfigMap", ENV_MAP, target)
            if config_map is None:
                continue
            owner = find_owner(cluster, config_map, mirror, current)
            if owner.whose != "ours":
                progress.note(f"ConfigMap {target}/{ENV_MAP} is {owner.whose}: left as it is")
            elif cluster.delete("ConfigMap", ENV_MAP, target):
                removed.append(target)
        except ApiError as error:
            progress.note(f"ConfigMap {target}/{ENV_MAP} is not removed: {error}")
    try:
        cluster.delete("ConfigMap", record_name(namespace), RECORD_NAMESPACE)
    except ApiError as error:
        if error.status != 403:
            raise  # a user who may not delete there recorded nothing there
    return tuple(removed)


def _check_target(
    cluster: Cluster, target: str, mirror: MirrorIdentity, current: MirrorRecord
) -> None:
    namespace = cluster.get("Namespace", target)
    if namespace is None:
        raise InputError(
            f"no namespace {target!r} in the cluster",
            next_step=f"kubectl create namespace {target}, or check the name",
        )
    if "deletionTimestamp" in namespace["metadata"]:
        raise RefusedError(
            f"namespace {target} is being deleted",
            why="nothing can be created in it",
            next_step=f"kubectl get namespace {target} -o yaml shows what it waits for",
        )
    config_map = cluster.get("ConfigMap", ENV_MAP, target)
    if config_map is None:
        return
    owner = find_owner(cluster, config_map, mirror, current)
    if owner.whose != "ours":
        raise RefusedError(
            f"ConfigMap {target}/{ENV_MAP} exists and is not ours: it is {owner.whose}",
            why=owner.why,
            next_step=f"to use this mirror instead: kubectl -n {target} delete configmap "
            f"{ENV_MAP}, then publish again",
        )


def _read_namespaces(
    cluster: Cluster, namespace: str, current: MirrorRecord, progress: Progress
) -> tuple[str, ...]:
    try:
        return read_published_namespaces(cluster, namespace, current)
    except RefusedError as error:
        progress.note(f"published ConfigMaps stay as they are: {error}")
        return ()


def _write_record(
    cluster: Cluster, mirror: MirrorIdentity, old: MirrorRecord, added: Iterable[str]
) -> None:
    """Add namespaces to the record in kube-system; take over those that 0.1.0 recorded."""
    known = read_published_namespaces(cluster, mirror.namespace, old)
    try:
        _store(cluster, render_publications(mirror, {*known, *added}))
    except ApiError as error:
        if error.status != 403:
            raise
        raise ClusterError(
            "cannot record where the mirror is published",
            why=f"{error.why or error}; only a recorded ConfigMap is updated and removed later",
            next_step=f"ask for get, create and update of configmaps in {RECORD_NAMESPACE} "
            "(docs/rights.md); or, without a record: mirror env --format configmap | kubectl apply "
            "-n NAMESPACE -f -",
        ) from error
    if old.published:
        record.write(cluster, mirror.namespace, replace(old, published=()))


def _store(cluster: Cluster, config_map: Object) -> None:
    """Create or replace with the verbs of the ledger: `mirror attach` needs no others."""
    current = cluster.get("ConfigMap", config_map["metadata"]["name"], RECORD_NAMESPACE)
    if current is None:
        cluster.create(config_map)
    elif current.get("data") != config_map["data"]:
        config_map["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
        cluster.replace(config_map)
