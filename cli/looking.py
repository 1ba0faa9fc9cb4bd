"""Where probe pods look from and for what, by the options that several commands share."""

from __future__ import annotations

from urllib.parse import urlsplit

from cli.options import ClusterOptions
from deploy import diagnose, record
from deploy.cluster.client import ApiRefusal, Cluster
from deploy.evidence.collect import Look
from mirror.core.errors import RefusedError
from mirror.devpi import default_upstream


def look(
    cluster: Cluster,
    target: ClusterOptions,
    *,
    image: str | None = None,
    names: tuple[str, ...] = (),
) -> Look:
    """The mirror's image, namespace and upstream, where nothing else is given."""
    try:
        kept = record.read(cluster, target.namespace)
    except (ApiRefusal, RefusedError):
        kept = record.Record()
    return Look(
        namespace=target.namespace,
        image=image or diagnose.probe_image(cluster, target.namespace) or kept.image,
        names=names or (_host(kept.settings.get("upstream")),),
    )


def _host(upstream: str | None) -> str:
    """HOST[:PORT] of the index that the mirror mirrors, or would."""
    parts = urlsplit(upstream or default_upstream())
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return parts.hostname or "" if port == 443 else f"{parts.hostname}:{port}"
