"""`mirror add`: private distributions into the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.client import IndexClient, UploadResult, check_distribution
from mirror.core.errors import InputError, RefusedError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.settings import normalize_project_name

_ENDINGS = (".whl", ".tar.gz", ".zip")


@click.command()
@local_option
@cluster_options(default_timeout=600)
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WHEEL|SDIST|DIR..."
)
@output_option
def add(local: bool, target: ClusterOptions, paths: tuple[Path, ...], output: OutputFormat) -> None:
    """Upload wheels and sdists into the private index.

    They go to workloads/stable, which workloads use. All files are looked at before the first is
    sent. A file that is there already with the same bytes is left alone; with other bytes it is
    refused, the others go on, and the command ends with 5. A name that is in the private index
    is never served from the public one.

    \b
    mirror add dist/                      all wheels and sdists of a folder
    mirror add mylib-1.0-py3-none-any.whl
    """
    files = list(distributions(paths))
    with terminal.progress() as progress:
        progress.step(f"look at {len(files)} files")
        for path in files:
            check_distribution(path)
        with _logged_in(local, target) as client:
            progress.step(f"upload {len(files)} files")
            done = []
            for number, path in enumerate(files):
                progress.count(number, len(files), path.name)
                done.append(_upload(client, path, alone=len(files) == 1))
    if output == "table":
        terminal.table(
            ("file", "sha256", ""), [(u.filename, u.sha256[:12], u.outcome) for u in done]
        )
    else:
        terminal.document(done, output)
    refused = [one for one in done if one.outcome == "refused"]
    if refused:
        raise RefusedError(
            f"{len(refused)} of {len(done)} files were refused",
            why="\n".join(one.why for one in refused),
            next_step="raise their versions: a file that somebody may have locked never changes",
        )


@click.command()
@local_option
@cluster_options(default_timeout=60)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output_option
def reserve(
    local: bool, target: ClusterOptions, names: tuple[str, ...], output: OutputFormat
) -> None:
    """Make names private before anything is uploaded under them.

    From then on no public package of that name is served, whoever publishes one. A name that was
    uploaded is private without this.

    \b
    mirror reserve acme-billing acme-auth
    """
    normal = list(dict.fromkeys(normalize_project_name(name) for name in names))
    with _logged_in(local, target) as client:
        done = [(name, "reserved" if client.reserve_name(name) else "present") for name in normal]
    if output == "table":
        terminal.table(("name", ""), done)
    else:
        terminal.document([{"name": name, "outcome": outcome} for name, outcome in done], output)


def _upload(client: IndexClient, path: Path, *, alone: bool) -> UploadResult:
    """One file; among several a refused one does not stop the others."""
    try:
        return client.upload(path)
    except RefusedError as refused:
        if alone:
            raise
        return UploadResult(filename=path.name, sha256="", outcome="refused", why=str(refused))


@contextmanager
def _logged_in(local: bool, target: ClusterOptions) -> Iterator[IndexClient]:
    """A client of the chosen mirror, as its root user."""
    if local:
        mirror = LocalMirror()
        deadline = Deadline.after(target.timeout)
        with IndexClient(mirror.require_endpoint(deadline).root_url, deadline) as client:
            client.login("root", mirror.read_root_password())
            yield client
        return
    from cli.connect import connect
    from deploy.lifecycle import connect as connect_module

    cluster = connect(target)
    endpoint = connect_module.read_endpoint(cluster, target.namespace)
    password = connect_module.read_root_password(cluster, target.namespace)
    with connect_module.open_client(cluster, target.namespace, endpoint) as client:
        client.login("root", password)
        yield client


def distributions(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files to upload, each once; folders are searched one level deep.

    Raises InputError for a folder without any.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            found = [path]
        else:
            found = sorted(p for p in path.iterdir() if p.name.endswith(_ENDINGS))
        if not found:
            raise InputError(f"no wheel and no sdist in {path}", next_step="build some: uv build")
        for one in found:
            if one.resolve() not in seen:
                seen.add(one.resolve())
                yield one
