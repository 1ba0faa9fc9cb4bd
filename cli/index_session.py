"""A logged-in client of the mirror's private index: of this machine's mirror, or the cluster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.options import ClusterOptions
from images.vendor import PrivateIndex
from mirror.cache_status import CacheStatus
from mirror.client import IndexClient
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.lock_urls import IndexAddresses
from mirror.settings import Endpoint
from mirror.volume import PACKAGES


@contextmanager
def open_index(local: bool, target: ClusterOptions) -> Iterator[IndexClient]:
    """Yield a client of the chosen mirror, logged in as its root user."""
    if local:
        deadline = Deadline.after(target.timeout)
        with _open_local(LocalMirror().require_endpoint(deadline), deadline) as client:
            yield client
        return
    with _open_cluster(target) as (client, _):
        yield client


@contextmanager
def open_reader(local: bool, target: ClusterOptions) -> Iterator[IndexClient]:
    """Yield a client of the chosen mirror that is not logged in."""
    if local:
        deadline = Deadline.after(target.timeout)
        with IndexClient(LocalMirror().require_endpoint(deadline).root_url, deadline) as client:
            yield client
        return
    from deploy.lifecycle.connect import open_client, read_endpoint

    cluster = target.connect()
    endpoint = read_endpoint(cluster, target.namespace)
    with open_client(cluster, target.namespace, endpoint) as client:
        yield client


def read_addresses(local: bool, target: ClusterOptions) -> tuple[IndexAddresses, IndexAddresses]:
    """Return the addresses of the index that the mirror fetches from, and the mirror's own."""
    endpoint, stats = _read_local(target) if local else _read_cluster(target)
    if stats is None:
        raise UnfitError(
            "the mirror does not tell where it fetches from",
            why="without nginx, devpi serves alone, and its links are not reversible",
            next_step="install nginx, then mirror up --local",
        )
    own = IndexAddresses(endpoint.url, f"{endpoint.root_url}/{PACKAGES}/")
    return IndexAddresses(stats.upstream, stats.upstream_origin), own


def _read_local(target: ClusterOptions) -> tuple[Endpoint, CacheStatus | None]:
    deadline = Deadline.after(target.timeout)
    endpoint = LocalMirror().require_endpoint(deadline)
    with IndexClient(endpoint.root_url, deadline) as client:
        return endpoint, client.read_stats()


def _read_cluster(target: ClusterOptions) -> tuple[Endpoint, CacheStatus | None]:
    from deploy.lifecycle.connect import open_client, read_endpoint

    cluster = target.connect()
    endpoint = read_endpoint(cluster, target.namespace)
    with open_client(cluster, target.namespace, endpoint) as client:
        return endpoint, client.read_stats()


@contextmanager
def open_build_index(
    url: str | None, target: ClusterOptions, deadline: Deadline
) -> Iterator[PrivateIndex]:
    """Yield the index of the given URL, else of this machine's mirror, else of the cluster's.

    It is logged in if its password is known. Raises UnfitError if there is no mirror.
    """
    try:
        endpoint = LocalMirror().require_endpoint(deadline)
    except UnfitError:
        endpoint = None
    if endpoint and url in (None, endpoint.url):
        with _open_local(endpoint, deadline) as client:
            yield PrivateIndex(url=endpoint.url, upload=lambda path: client.upload(path).sha256)
        return
    if url:
        yield PrivateIndex(url=url, upload=_refuse_upload(url))
        return
    with _open_cluster(target, no_mirror="no mirror to build from") as (client, path):
        yield PrivateIndex(
            url=client.root_url + path, upload=lambda path: client.upload(path).sha256
        )


@contextmanager
def _open_local(endpoint: Endpoint, deadline: Deadline) -> Iterator[IndexClient]:
    with IndexClient(endpoint.root_url, deadline) as client:
        client.login("root", LocalMirror().read_root_password())
        yield client


@contextmanager
def _open_cluster(
    target: ClusterOptions, *, no_mirror: str = ""
) -> Iterator[tuple[IndexClient, str]]:
    """Yield a client of the cluster's mirror, and the path of its simple index.

    With ``no_mirror``, an UnfitError of this text says that this machine has no mirror either.
    """
    from deploy.lifecycle.connect import open_client, read_endpoint, read_root_password

    try:
        cluster = target.connect()
        endpoint = read_endpoint(cluster, target.namespace)
        password = read_root_password(cluster, target.namespace)
    except MirrorError as error:
        if not no_mirror:
            raise
        raise UnfitError(
            no_mirror,
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
