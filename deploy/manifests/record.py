"""The mirror's record: its address, its settings and the namespaces it was published in.

A ConfigMap in the mirror's namespace that `mirror down` keeps. It holds no secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from ipaddress import IPv4Address
from typing import Any

from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import RECORD_MAP, ClusterSettings, Object
from mirror.core.errors import RefusedError
from mirror.settings import DEFAULT_PORT, Endpoint

_KEY = "record.json"
# what the options of `mirror up` set
_SETTINGS = {each.name for each in fields(ClusterSettings)} - {
    *("image", "image_is_0_1", "namespace", "ca_pem", "cluster_ip", "cluster_cidrs"),
}


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
        _check_types(record)
    except (KeyError, ValueError, TypeError) as error:
        raise RefusedError(
            f"cannot read the mirror's record (ConfigMap {namespace}/{RECORD_MAP})",
            why=f"{type(error).__name__}: {error}; it holds the address that workloads use",
            next_step="restore it; or, if no workload uses the mirror yet, delete the ConfigMap",
        ) from error
    return record


def _check_types(record: MirrorRecord) -> None:
    """Raise TypeError for what `mirror up` never records: whoever edits the namespace may."""
    _require(_is_port(record.port), "port", record.port)
    _require(isinstance(record.image, str | None), "image", record.image)
    _require(all(isinstance(name, str) for name in record.published), "published", record.published)
    _require(isinstance(record.settings, dict), "settings", record.settings)
    for name, value in record.settings.items():
        is_known = name in _SETTINGS
        is_text = value is None or isinstance(value, str | bool)
        is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
        right = is_text or is_list or (name in {"port", "node_port"} and _is_port(value))
        _require(is_known and right, f"settings.{name}", value)


def _is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def _require(condition: bool, name: str, value: Any) -> None:
    if not condition:
        raise TypeError(f"{name} cannot be {value!r}")


def render_record(namespace: str, record: MirrorRecord) -> Object:
    document = json.dumps(asdict(record), sort_keys=True, indent=1)
    return render_config_map(namespace, RECORD_MAP, {_KEY: document})
