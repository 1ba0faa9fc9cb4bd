"""Which mirror a build uses: the one that was named, this machine's, else the cluster's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.options import ClusterOptions
from mirror.client import IndexClient
from mirror.core.errors import InputError, MirrorError, UnfitError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIndex:
    """``index``: the simple index as this machine reaches it; ``upload`` gives a file's SHA-256."""

    url: str
    upload: Callable[[Path], str]


@contextmanager
def open_build_index(
    url: str | None, target: ClusterOptions, deadline: Deadline
) -> Iterator[BuildIndex]:
    """A mirror that answers, logged in where its password is at hand. UnfitError where none is."""
    local = LocalMirror()
    try:
        here = local.require_endpoint(deadline)
    except UnfitError:
        here = None
    if here and url in (None, here.url):
        with IndexClient(here.root_url, deadline) as client:
            client.login("root", local.read_root_password())
            yield BuildIndex(url=here.url, upload=lambda path: client.upload(path).sha256)
        return
    if url:
        yield BuildIndex(url=url, upload=_refuse(url))
        return
    with _cluster(target) as (client, path):
        yield BuildIndex(url=client.root_url + path, upload=lambda one: client.upload(one).sha256)


@contextmanager
def _cluster(target: ClusterOptions) -> Iterator[tuple[IndexClient, str]]:
    from cli.connect import connect
    from deploy.lifecycle import connect as connect_module

    try:
        cluster = connect(target)
        endpoint = connect_module.read_endpoint(cluster, target.namespace)
        password = connect_module.read_root_password(cluster, target.namespace)
    except MirrorError as absent:
        raise UnfitError(
            "no mirror to build from",
            why=f"none runs on this machine, and the cluster's cannot be used: {absent}",
            next_step="mirror up --local, or name one with --mirror URL",
        ) from absent
    with connect_module.open_client(cluster, target.namespace, endpoint) as client:
        client.login("root", password)
        yield client, endpoint.url.removeprefix(endpoint.root_url)


def _refuse(url: str) -> Callable[[Path], str]:
    def upload(path: Path) -> str:
        raise InputError(
            f"{path.name} has to be put into the private index, and we may not write to {url}",
            why="only the passwords of this machine's and of the cluster's mirror are at hand",
            next_step="leave --mirror out, or build against a lock without git, URL and path "
            "dependencies",
        )

    return upload
