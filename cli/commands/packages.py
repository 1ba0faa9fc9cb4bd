"""`mirror add`: private distributions into the index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli import show
from cli.options import OutputFormat, local_option, output_option
from mirror.client import IndexClient
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local import LocalMirror


@click.command()
@local_option
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WHEEL|SDIST|DIR..."
)
@click.option("--timeout", type=float, default=600, show_default=True, metavar="SECONDS")
@output_option
def add(local: bool, paths: tuple[Path, ...], timeout: float, output: OutputFormat) -> None:
    """Upload distributions into the private index workloads/stable.

    A file that is there already with the same bytes is left alone; with other bytes it is
    refused. A name that is in the private index is never served from the public one.

    \b
    mirror add dist/                      all wheels and sdists of a folder
    mirror add mylib-1.0-py3-none-any.whl
    """
    deadline = Deadline.after(timeout)
    files = list(distributions(paths))
    mirror = LocalMirror()
    with show.progress() as progress:
        endpoint = mirror.running_endpoint(deadline)
        done = []
        with IndexClient(endpoint.root, deadline) as client:
            client.login("root", mirror.password())
            progress.step(f"upload {len(files)} files")
            for number, path in enumerate(files):
                progress.count(number, len(files), path.name)
                done.append(client.upload(path))
    if output == "table":
        show.table(("file", "sha256", ""), [(u.filename, u.sha256[:12], u.outcome) for u in done])
    else:
        show.document(done, output)


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
