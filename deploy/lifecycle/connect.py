"""Talking to the mirror from wherever we are: its address if it answers, else one tunnel."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.cluster.client import Cluster
from deploy.cluster.port_forward import forward_port
from deploy.lifecycle import record
from deploy.manifests.model import NAME, POD_NAME
from mirror.client import IndexClient
from mirror.core.errors import ClusterError, UnfitError
from mirror.settings import Endpoint

_DIRECT_SECONDS = 0.7


def read_endpoint(cluster: Cluster, namespace: str) -> Endpoint:
    """The address that workloads use. Raises UnfitError where there is no mirror."""
    found = record.read(cluster, namespace).endpoint
    if found is None:
        raise UnfitError(
            f"there is no mirror in namespace {namespace} of context {cluster.context}",
            why="it has no recorded address",
            next_step="mirror up (or name its namespace with --namespace)",
        )
    return found


@contextmanager
def open_client(cluster: Cluster, namespace: str, endpoint: Endpoint) -> Iterator[IndexClient]:
    """A client of the mirror, not logged in."""
    with IndexClient(endpoint.root_url, cluster.deadline) as direct:
        if direct.is_alive(_DIRECT_SECONDS):
            yield direct
            return
    with (
        forward_port(cluster, namespace, POD_NAME, endpoint.port) as port,
        IndexClient(f"http://127.0.0.1:{port}", cluster.deadline) as through,
    ):
        yield through


def read_root_password(cluster: Cluster, namespace: str) -> str:
    """The password of devpi's root user, from the Secret."""
    held = cluster.get("Secret", NAME, namespace)
    if held is None or "root-password" not in held.get("data", {}):
        raise ClusterError(
            f"the Secret {namespace}/{NAME} is missing",
            why="it holds the password of the index's root user",
            next_step="restore it; a new one does not fit the stored packages",
        )
    return base64.b64decode(held["data"]["root-password"]).decode()
