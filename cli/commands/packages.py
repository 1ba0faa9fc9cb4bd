"""`mirror add`: private distributions into the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli import show
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from mirror.client import IndexClient
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local import LocalMirror


@click.command()
@local_option
@cluster_options(default_timeout=600)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WHEEL|SDIST|DIR..."
)
@output_option
def add(local: bool, target: ClusterOptions, paths: tuple[Path, ...], output: OutputFormat) -> None:
    """Upload wheels and sdists into the private index.

    They go to workloads/stable, which workloads use. A file that is there already with the same
    bytes is left alone; with other bytes it is refused. A name that is in the private index is
    never served from the public one.

    \b
    mirror add dist/                      all wheels and sdists of a folder
    mirror add mylib-1.0-py3-none-any.whl
    """
    files = list(distributions(paths))
    with show.progress() as progress, _logged_in(local, target) as client:
        progress.step(f"upload {len(files)} files")
        done = []
        for number, path in enumerate(files):
            progress.count(number, len(files), path.name)
            done.append(client.upload(path))
    if output == "table":
        show.table(("file", "sha256", ""), [(u.filename, u.sha256[:12], u.outcome) for u in done])
    else:
        show.document(done, output)


@contextmanager
def _logged_in(local: bool, target: ClusterOptions) -> Iterator[IndexClient]:
    """A client of the chosen mirror, as its root user."""
    if local:
        mirror = LocalMirror()
        deadline = Deadline.after(target.timeout)
        with IndexClient(mirror.running_endpoint(deadline).root, deadline) as client:
            client.login("root", mirror.password())
            yield client
        return
    from cli.connect import connect
    from deploy import reach

    cluster = connect(target)
    endpoint = reach.endpoint(cluster, target.namespace)
    password = reach.root_password(cluster, target.namespace)
    with reach.client(cluster, target.namespace, endpoint) as client:
        client.login("root", password)
        yield client


def distributions(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files to upload, folders searched one level deep. Raises InputError for what is none."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.iterdir() if p.name.endswith((".whl", ".tar.gz")))
        if not found:
            raise InputError(f"no wheel and no sdist in {path}", next_step="build some: uv build")
        yield from found
