"""Prove that the stored copy of a removed workload is the one that was removed.

A rollback creates such a workload again, with any image and any right on the nodes. Its stored copy
is a ConfigMap, so its SHA-256 is kept where only somebody who may write DaemonSets in kube-system
could change it, which is as much as the workload itself: in an annotation of our node agent.
"""

from __future__ import annotations

import hashlib

from deploy.changes.attachment import KINDS
from deploy.changes.ledger import config_map_name
from deploy.changes.model import LedgerEntry, ObjectSpec
from deploy.cluster.client import Cluster
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.errors import RefusedError

_PREFIX = "pypi-mirror/sealed-"


def needs_seal(entry: LedgerEntry) -> bool:
    """Return whether a rollback of the entry creates a workload."""
    removes = entry.written is None or (entry.pending and entry.intended is None)
    is_workload = isinstance(entry.target, ObjectSpec) and entry.target.kind in KINDS
    return is_workload and entry.base is not None and removes


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


def has_seal(cluster: Cluster, entry: LedgerEntry) -> bool:
    """Return whether the stored copy has the checksum that was recorded for it."""
    agent = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) or {"metadata": {}}
    annotations = agent["metadata"].get("annotations") or {}
    return annotations.get(_key(entry)) == _digest(entry)


def _key(entry: LedgerEntry) -> str:
    return _PREFIX + config_map_name(entry.target).rpartition("-")[2]


def _digest(entry: LedgerEntry) -> str:
    content = (entry.base or b"") + b"\0" + entry.metadata.encode()
    return hashlib.sha256(content).hexdigest()
