"""Where probe pods look from and for what, by the options that several commands share."""

from __future__ import annotations

from urllib.parse import urlsplit

from cli.options import ClusterOptions
from deploy.cluster.client import ApiError, Cluster
from deploy.doctor import run
from deploy.evidence.collect import CollectOptions
from deploy.lifecycle import record
from mirror.core.errors import RefusedError
from mirror.devpi import read_default_upstream


def look(
    cluster: Cluster,
    target: ClusterOptions,
    *,
    image: str | None = None,
    names: tuple[str, ...] = (),
) -> CollectOptions:
    """The mirror's image, namespace and upstream, where nothing else is given."""
    try:
        kept = record.read(cluster, target.namespace)
    except (ApiError, RefusedError):
        kept = record.MirrorRecord()
    return CollectOptions(
        namespace=target.namespace,
        image=image or run.find_probe_image(cluster, target.namespace) or kept.image,
        names=names or (_host(kept.settings.get("upstream")),),
    )


def _host(upstream: str | None) -> str:
    """HOST[:PORT] of the index that the mirror mirrors, or would."""
    parts = urlsplit(upstream or read_default_upstream())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return parts.hostname or "" if port == 443 else f"{parts.hostname}:{port}"
