"""Read and write the mirror's record in the cluster."""

from __future__ import annotations

from deploy.cluster.client import Cluster
from deploy.manifests.model import RECORD_MAP
from deploy.manifests.record import MirrorRecord, parse_record, render_record


def read(cluster: Cluster, namespace: str) -> MirrorRecord:
    """Return the record, or an empty one. Raises RefusedError if it cannot be read."""
    return parse_record(cluster.get("ConfigMap", RECORD_MAP, namespace), namespace)


def write(cluster: Cluster, namespace: str, record: MirrorRecord) -> None:
    """Store the record; writes nothing if nothing changed."""
    cluster.apply(render_record(namespace, record))
