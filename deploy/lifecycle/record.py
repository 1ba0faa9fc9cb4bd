"""What a mirror remembers of itself: its address, its settings, where it was published.

A ConfigMap in the mirror's namespace that `down` leaves alone. Nothing in it is secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from deploy.cluster.client import Cluster
from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import RECORD_MAP
from mirror.core.errors import RefusedError
from mirror.settings import DEFAULT_PORT, Endpoint

_KEY = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRecord:
    """``cluster_ip`` is the promise; ``settings`` are the options that `up` was given."""

    cluster_ip: str | None = None
    port: int = DEFAULT_PORT
    image: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[str, ...] = ()

    @property
    def endpoint(self) -> Endpoint | None:
        """Where workloads reach the index, once there is an address."""
        if self.cluster_ip is None:
            return None
        return Endpoint(address=IPv4Address(self.cluster_ip), port=self.port)


def read(cluster: Cluster, namespace: str) -> MirrorRecord:
    """The record, or an empty one. Raises RefusedError for one that cannot be read."""
    held = cluster.get("ConfigMap", RECORD_MAP, namespace)
    if held is None:
        return MirrorRecord()
    try:
        told = json.loads(held["data"][_KEY])
        record = MirrorRecord(**{**told, "published": tuple(told.get("published", ()))})
        _ = record.endpoint
    except (KeyError, ValueError, TypeError) as broken:
        raise RefusedError(
            f"the record of the mirror cannot be read (ConfigMap {namespace}/{RECORD_MAP})",
            why=f"{type(broken).__name__}: {broken}; it holds the address workloads were given",
            next_step="restore it; or, if no workload uses the mirror yet, delete the ConfigMap",
        ) from broken
    return record


def write(cluster: Cluster, namespace: str, record: MirrorRecord) -> None:
    """Store; writes nothing where nothing changed."""
    words = json.dumps(asdict(record), sort_keys=True, indent=1)
    cluster.apply(render_config_map(namespace, RECORD_MAP, {_KEY: words}))


def add_published(cluster: Cluster, namespace: str, namespaces: tuple[str, ...]) -> MirrorRecord:
    """Remember namespaces that hold the environment ConfigMap."""
    record = read(cluster, namespace)
    record = replace(record, published=tuple(sorted({*record.published, *namespaces})))
    write(cluster, namespace, record)
    return record
