"""Choose the mirror that a build installs from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.options import ClusterOptions
from images.vendor import PrivateIndex
from mirror.client import IndexClient
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror


@contextmanager
def open_build_index(
    url: str | None, target: ClusterOptions, deadline: Deadline
) -> Iterator[PrivateIndex]:
    """Yield the index of the given URL, else of this machine's mirror, else of the cluster's.

    It is logged in if its password is known. Raises UnfitError if there is no mirror.
    """
    local = LocalMirror()
    try:
        endpoint = local.require_endpoint(deadline)
    except UnfitError:
        endpoint = None
    if endpoint and url in (None, endpoint.url):
        with IndexClient(endpoint.root_url, deadline) as client:
            client.login("root", local.read_root_password())
            yield PrivateIndex(url=endpoint.url, upload=lambda path: client.upload(path).sha256)
        return
    if url:
        yield PrivateIndex(url=url, upload=_refuse_upload(url))
        return
    with _open_cluster_client(target) as (client, path):
        yield PrivateIndex(
            url=client.root_url + path, upload=lambda path: client.upload(path).sha256
        )


@contextmanager
def _open_cluster_client(target: ClusterOptions) -> Iterator[tuple[IndexClient, str]]:
    """Yield a client of the cluster's mirror, as root, and the path of its simple index."""
    from cli.connect import connect
    from deploy.lifecycle.connect import open_client, read_endpoint, read_root_password

    try:
        cluster = connect(target)
        endpoint = read_endpoint(cluster, target.namespace)
        password = read_root_password(cluster, target.namespace)
    except MirrorError as error:
        raise UnfitError(
            "no mirror to build from",
            why=f"none runs on this machine, and the cluster's cannot be used: {error}",
            next_step="mirror up --local, or give one with --mirror URL",
        ) from error
    with open_client(cluster, target.namespace, endpoint) as client:
        client.login("root", password)
        yield client, endpoint.url.removeprefix(endpoint.root_url)


def _refuse_upload(url: str) -> Callable[[Path], str]:
    def upload(path: Path) -> str:
        raise InputError(
            f"{path.name} must be uploaded to the private index, but {url} cannot be written to",
            why="only the passwords of this machine's and the cluster's mirror are known",
            next_step="omit --mirror, or use a lock without git, URL and path dependencies",
        )

    return upload
