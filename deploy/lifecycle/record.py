"""Read and write the mirror's record in the cluster."""

from __future__ import annotations

from dataclasses import replace

from deploy.cluster.client import Cluster
from deploy.manifests.model import RECORD_MAP
from deploy.manifests.record import MirrorRecord, parse_record, render_record

__all__ = ["MirrorRecord", "add_published", "read", "write"]


def read(cluster: Cluster, namespace: str) -> MirrorRecord:
    """Return the record, or an empty one. Raises RefusedError if it cannot be read."""
    return parse_record(cluster.get("ConfigMap", RECORD_MAP, namespace), namespace)


def write(cluster: Cluster, namespace: str, record: MirrorRecord) -> None:
    """Store the record; writes nothing if nothing changed."""
    cluster.apply(render_record(namespace, record))


def add_published(cluster: Cluster, namespace: str, namespaces: tuple[str, ...]) -> MirrorRecord:
    """Record namespaces that hold the environment ConfigMap, and return the new record."""
    record = read(cluster, namespace)
    record = replace(record, published=tuple(sorted({*record.published, *namespaces})))
    write(cluster, namespace, record)
    return record
