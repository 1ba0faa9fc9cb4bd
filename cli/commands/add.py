"""`mirror add`: upload private distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

import click

from cli.index_session import open_index
from cli.inputs import Checked
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.client import IndexClient, UploadResult
from mirror.core.errors import InputError, RefusedError
from mirror.upload_form import read_metadata

_SUFFIXES = (".whl", ".tar.gz", ".zip")


def _check_path(text: str) -> Path:
    """Return the path of a file or folder; refuse a URL."""
    if "://" in text:
        name = urlsplit(text).path.rpartition("/")[2]
        raise InputError(
            f"not a file: {text}",
            why="mirror add uploads files of this machine",
            next_step=f"curl -fLO {quote(text)} && mirror add {quote(name)}",
        )
    if not Path(text).exists():
        raise InputError(
            f"no such file: {text}",
            why=f"looked in {Path.cwd()}" if not Path(text).is_absolute() else "it does not exist",
            next_step="name a wheel, an sdist or a folder of them, such as dist/",
        )
    return Path(text)


@click.command()
@local_option
@cluster_options("10m")
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=Checked("path", _check_path),
    metavar="WHEEL|SDIST|DIR...",
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
        _check_files(files)
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


def _check_files(files: Sequence[Path]) -> None:
    """Raise InputError for files that cannot be uploaded; it names all of them."""
    problems = []
    for path in files:
        try:
            read_metadata(path)
        except InputError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise InputError(
            f"{len(problems)} of {len(files)} files cannot be uploaded",
            why="\n".join(map(str, problems)),
            next_step="build them again, or omit them: nothing was uploaded",
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
            raise InputError(
                f"no wheels or sdists in {path}",
                why="a wheel ends with .whl, an sdist with .tar.gz or .zip",
                next_step="build some: uv build",
            )
        for file in files:
            if file.resolve() not in yielded:
                yielded.add(file.resolve())
                yield file
