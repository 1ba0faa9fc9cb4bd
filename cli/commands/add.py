"""`mirror add`: upload private distributions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli.index_session import open_index
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.client import IndexClient, UploadResult
from mirror.core.errors import InputError, RefusedError
from mirror.upload_form import read_metadata

_SUFFIXES = (".whl", ".tar.gz", ".zip")


@click.command()
@local_option
@cluster_options("10m")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WHEEL|SDIST|DIR..."
)
@output_option
def add(local: bool, target: ClusterOptions, paths: tuple[Path, ...], output: OutputFormat) -> None:
    """Upload wheels and sdists into the private index.

    They go to workloads/stable, the index that workloads use. All files are checked before the
    first upload. A file that is already there with the same bytes is left alone. With other bytes
    it is refused, the rest are uploaded, and the exit code is 5. The mirror never serves a public
    package under the name of a private one.

    \b
    mirror add dist/                      all wheels and sdists of a folder
    mirror add mylib-1.0-py3-none-any.whl
    """
    files = list(find_distributions(paths))
    with terminal.progress() as progress:
        progress.step(f"check {len(files)} files")
        for path in files:
            read_metadata(path)  # raises for a file that cannot be uploaded
        with open_index(local, target) as client:
            progress.step(f"upload {len(files)} files")
            results = []
            for number, path in enumerate(files):
                progress.count(number, len(files), path.name)
                results.append(_upload(client, path, only=len(files) == 1))
    if output == "table":
        rows = [(result.filename, result.sha256[:12], result.outcome) for result in results]
        terminal.table(("file", "sha256", ""), rows)
    else:
        terminal.document(results, output)
    refused = [result for result in results if result.outcome == "refused"]
    if refused:
        raise RefusedError(
            f"{len(refused)} of {len(results)} files were refused",
            why="\n".join(result.why for result in refused),
            next_step="raise their versions: a file that somebody may have locked never changes",
        )


def _upload(client: IndexClient, path: Path, *, only: bool) -> UploadResult:
    """Upload a file; among several, a refusal becomes a result so that the others go on."""
    try:
        return client.upload(path)
    except RefusedError as refusal:
        if only:
            raise
        return UploadResult(filename=path.name, sha256="", outcome="refused", why=str(refusal))


def find_distributions(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Yield each file to upload once; folders are searched one level deep.

    Raises InputError for a folder without wheels and sdists.
    """
    yielded: set[Path] = set()
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
        if not files:
            raise InputError(f"no wheels or sdists in {path}", next_step="build some: uv build")
        for file in files:
            if file.resolve() not in yielded:
                yielded.add(file.resolve())
                yield file
