"""Prove that the stored copy of a removed workload is the one that was removed.

A rollback creates such a workload again, with any image and any right on the nodes. Its stored copy
is a ConfigMap, so its SHA-256 is kept where only somebody who may write DaemonSets in kube-system
could change it, which is as much as the workload itself: in an annotation of our node agent.

Version 0.1.0 stored none. Its copy needs no proof if it can only turn IPv6 off. If all but its
image is known, an administrator can confirm it: by the same annotation at Namespace kube-system.
"""

from __future__ import annotations

import hashlib

from deploy.changes.harmless_workload import find_unknown_images, is_harmless
from deploy.changes.ledger import config_map_name
from deploy.changes.model import LedgerEntry
from deploy.changes.workload_guard import is_workload
from deploy.cluster.client import ApiError, Cluster
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.errors import RefusedError

_PREFIX = "pypi-mirror/sealed-"


def needs_seal(entry: LedgerEntry) -> bool:
    """Return whether a rollback of the entry creates a workload."""
    removes = entry.written is None or (entry.pending and entry.intended is None)
    return is_workload(entry.target) and entry.base is not None and removes


def put_seal(cluster: Cluster, entry: LedgerEntry) -> None:
    """Record the copy before the workload is removed. Raises RefusedError without a node agent."""
    if cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
        raise RefusedError(
            f"{entry.target} cannot be removed: its copy could not be proved later",
            why=f"there is no DaemonSet {SYSTEM_NAMESPACE}/{AGENT_NAME} to record its checksum in",
            next_step="run the same command again: it starts the node agent",
        )
    body = {"metadata": {"annotations": {_key(entry): _digest(entry)}}}
    cluster.patch("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE, body)


def find_flaw(cluster: Cluster, entry: LedgerEntry) -> str:
    """Return why the entry must not create its workload; empty if it is proved, or needs no proof.

    The text ends with the command that confirms the copy, if an administrator can do that.
    """
    assert entry.base is not None
    if is_harmless(entry.base) or _has_seal(cluster, entry):
        return ""
    flaw = f"nothing proves that this copy of {entry.target} is the one that was removed"
    images = find_unknown_images(entry.base)
    if not images:
        return flaw
    return (
        f"{flaw}. It would only turn IPv6 off, but as root on every node, with the programs of "
        f"{' and '.join(images)}. If you installed it with "
        f"{'that image' if len(images) == 1 else 'those images'}: kubectl annotate namespace "
        f"{SYSTEM_NAMESPACE} {_key(entry)}={_digest(entry)}, then run the same command again"
    )


def remove_confirmation(cluster: Cluster, entry: LedgerEntry) -> None:
    """Remove the annotation with which an administrator confirmed the copy."""
    if _read_annotation(cluster, entry, "Namespace", SYSTEM_NAMESPACE):
        body = {"metadata": {"annotations": {_key(entry): None}}}
        cluster.patch("Namespace", SYSTEM_NAMESPACE, None, body)


def _has_seal(cluster: Cluster, entry: LedgerEntry) -> bool:
    """Return whether the stored copy has the checksum that was recorded for it."""
    return _digest(entry) in {
        _read_annotation(cluster, entry, "DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE),
        _read_annotation(cluster, entry, "Namespace", SYSTEM_NAMESPACE),
    }


def _read_annotation(
    cluster: Cluster, entry: LedgerEntry, kind: str, name: str, namespace: str | None = None
) -> str:
    try:
        obj = cluster.get(kind, name, namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return ""
    annotations = (obj or {"metadata": {}})["metadata"].get("annotations") or {}
    return str(annotations.get(_key(entry), ""))


def _key(entry: LedgerEntry) -> str:
    return _PREFIX + config_map_name(entry.target).rpartition("-")[2]


def _digest(entry: LedgerEntry) -> str:
    content = (entry.base or b"") + b"\0" + entry.metadata.encode()
    return hashlib.sha256(content).hexdigest()
