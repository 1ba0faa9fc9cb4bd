"""A logged-in client of the mirror's private index, local or in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cli.options import ClusterOptions
from mirror.client import IndexClient
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror


@contextmanager
def open_index(local: bool, target: ClusterOptions) -> Iterator[IndexClient]:
    """Yield a client of the chosen mirror, logged in as its root user."""
    if local:
        mirror = LocalMirror()
        deadline = Deadline.after(target.timeout)
        with IndexClient(mirror.require_endpoint(deadline).root_url, deadline) as client:
            client.login("root", mirror.read_root_password())
            yield client
        return
    from cli.connect import connect
    from deploy.lifecycle.connect import open_client, read_endpoint, read_root_password

    cluster = connect(target)
    endpoint = read_endpoint(cluster, target.namespace)
    password = read_root_password(cluster, target.namespace)
    with open_client(cluster, target.namespace, endpoint) as client:
        client.login("root", password)
        yield client
