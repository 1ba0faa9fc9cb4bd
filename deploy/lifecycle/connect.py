"""Connect to the mirror: at its address if it is reachable, else through the API server."""

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
    """The address that workloads use. Raises UnfitError if there is no mirror."""
    endpoint = record.read(cluster, namespace).endpoint
    if endpoint is None:
        raise no_mirror_error(cluster, namespace, "it has no recorded address")
    return endpoint


def no_mirror_error(cluster: Cluster, namespace: str, why: str) -> UnfitError:
    return UnfitError(
        f"there is no mirror in namespace {namespace} of context {cluster.context}",
        why=why,
        next_step="mirror up (or give its namespace with --namespace)",
    )


@contextmanager
def open_client(cluster: Cluster, namespace: str, endpoint: Endpoint) -> Iterator[IndexClient]:
    """A client of the mirror that is not logged in."""
    with IndexClient(endpoint.root_url, cluster.deadline) as client:
        if client.is_alive(_DIRECT_SECONDS):
            yield client
            return
    with (
        forward_port(cluster, namespace, POD_NAME, endpoint.port) as port,
        IndexClient(f"http://127.0.0.1:{port}", cluster.deadline) as client,
    ):
        yield client


def read_root_password(cluster: Cluster, namespace: str) -> str:
    """The password of devpi's user root, from the Secret."""
    secret = cluster.get("Secret", NAME, namespace)
    if secret is None or "root-password" not in secret.get("data", {}):
        raise ClusterError(
            f"the Secret {namespace}/{NAME} is missing",
            why="it holds the password of the index's user root",
            next_step="restore it; a new password does not match the stored packages",
        )
    return base64.b64decode(secret["data"]["root-password"]).decode()
