"""Turn the shared options into collector options: the image, names and nodes of probe pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cli.options import ClusterOptions
from deploy.cluster.client import ApiError, Cluster
from deploy.evidence.collect import CollectOptions
from deploy.evidence.mirror import find_probe_image
from deploy.lifecycle import record
from deploy.manifests.record import MirrorRecord
from mirror.core.errors import RefusedError
from mirror.devpi import read_default_upstream


def build_collect_options(
    cluster: Cluster,
    target: ClusterOptions,
    *,
    image: str | None = None,
    names: tuple[str, ...] = (),
    nodes: tuple[str, ...] = (),
    ask_mirror: bool = False,
) -> CollectOptions:
    """Return the options of a collection; the mirror's record fills in what is not given.

    ``names`` are HOST[:PORT] that probe pods resolve (default: the upstream index); with
    ``ask_mirror`` they also ask the mirror at its recorded address.
    """
    try:
        mirror_record = record.read(cluster, target.namespace)
    except (ApiError, RefusedError):
        mirror_record = MirrorRecord()
    address = f"{mirror_record.cluster_ip}:{mirror_record.port}"
    return CollectOptions(
        namespace=target.namespace,
        image=image or find_probe_image(cluster, target.namespace) or mirror_record.image,
        nodes=nodes,
        names=names or (_index_host(mirror_record.settings),),
        mirror=address if ask_mirror and mirror_record.cluster_ip else None,
    )


def _index_host(settings: Mapping[str, Any]) -> str:
    """Return HOST[:PORT] of the index that the mirror uses, or would use."""
    parts = urlsplit(settings.get("upstream") or read_default_upstream())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    host = parts.hostname or ""
    return host if port == 443 else f"{host}:{port}"
