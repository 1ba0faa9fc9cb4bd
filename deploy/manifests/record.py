"""The mirror's record: its address, its settings and the namespaces it was published in.

A ConfigMap in the mirror's namespace that `mirror down` keeps. It holds no secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from typing import Any

from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import RECORD_MAP, Object
from mirror.core.errors import RefusedError
from mirror.settings import DEFAULT_PORT, Endpoint

_KEY = "record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRecord:
    """What `mirror up` records. The fields are the keys of record.json.

    ``cluster_ip`` is the address that workloads use; ``settings`` are the options of `mirror up`.
    """

    cluster_ip: str | None = None
    port: int = DEFAULT_PORT
    image: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[str, ...] = ()  # namespaces

    @property
    def endpoint(self) -> Endpoint | None:
        """Where workloads reach the index; None before the mirror has an address."""
        if self.cluster_ip is None:
            return None
        return Endpoint(address=IPv4Address(self.cluster_ip), port=self.port)


def parse_record(config_map: Object | None, namespace: str) -> MirrorRecord:
    """Return the record in a ConfigMap, or an empty record if there is no ConfigMap.

    Raises RefusedError if the ConfigMap holds no valid record.
    """
    if config_map is None:
        return MirrorRecord()
    try:
        document = json.loads(config_map["data"][_KEY])
        record = MirrorRecord(**{**document, "published": tuple(document.get("published", ()))})
        _ = record.endpoint
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedError(
            f"cannot read the mirror's record (ConfigMap {namespace}/{RECORD_MAP})",
            why=f"{type(error).__name__}: {error}; it holds the address that workloads use",
            next_step="restore it; or, if no workload uses the mirror yet, delete the ConfigMap",
        ) from error
    return record


def render_record(namespace: str, record: MirrorRecord) -> Object:
    document = json.dumps(asdict(record), sort_keys=True, indent=1)
    return render_config_map(namespace, RECORD_MAP, {_KEY: document})
