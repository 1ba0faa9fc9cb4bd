"""`mirror lock`: move a lock's URLs to the mirror and back."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cli.index_session import read_addresses
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.core.errors import InputError, UnfitError
from mirror.lock_urls import (
    IndexAddresses,
    MovedLock,
    find_file_origins,
    move_from_mirror,
    move_to_mirror,
)


@click.group()
def lock() -> None:
    """Move the URLs of a lock to the mirror and back.

    A moved lock installs from the mirror alone, for example with `uv sync --frozen`, and has the
    same hashes. The way back restores the file byte for byte. Takes uv.lock, pylock.toml and
    requirements files. URLs of other indexes, of Git repositories and of single files stay.

    \b
    mirror lock to uv.lock     before a build or an install without the index
    mirror lock from uv.lock   before a commit
    """


@lock.command("to")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@local_option
@cluster_options("30s")
@output_option
def lock_to(path: Path, local: bool, target: ClusterOptions, output: OutputFormat) -> None:
    """Make the URLs of a lock lead to the mirror."""
    content = _read(path)
    index, mirror = read_addresses(local, target)
    if not index.files:
        index = _guess_origin(content, index)
    _save(path, move_to_mirror(content, index, mirror), output)


@lock.command("from")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@local_option
@cluster_options("30s")
@output_option
def lock_from(path: Path, local: bool, target: ClusterOptions, output: OutputFormat) -> None:
    """Make the URLs of a lock lead to the index that the mirror fetches from."""
    content = _read(path)
    index, mirror = read_addresses(local, target)
    if not index.files and mirror.files in find_file_origins(content):
        raise UnfitError(
            "the mirror does not know where the index keeps its files",
            why="it has not fetched a page of a project yet, or the index has no reversible URLs",
            next_step="install or warm a package through the mirror, then run this again",
        )
    _save(path, move_from_mirror(content, index, mirror), output)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        next_step = "name a uv.lock, a pylock.toml or a requirements file"
        raise InputError(f"cannot be read: {path}", why=why, next_step=next_step) from error


def _guess_origin(content: bytes, index: IndexAddresses) -> IndexAddresses:
    """Take the origin of the lock's files, if there is only one, before the mirror has a page."""
    origins = find_file_origins(content)
    if len(origins) > 1:
        raise UnfitError(
            "the lock names files of several indexes",
            why=f"the mirror cannot tell yet which of them it mirrors: {', '.join(origins)[:300]}",
            next_step="install or warm a package through the mirror, then run this again",
        )
    return IndexAddresses(index.index, origins[0] if origins else "")


def _save(path: Path, moved: MovedLock, output: OutputFormat) -> None:
    """Replace the file, with its mode; a link stays a link."""
    if moved.is_changed:
        target = path.resolve()
        new = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            new.write_bytes(moved.content)
            new.chmod(target.stat().st_mode & 0o7777)
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)
    if output != "table":
        document = {"indexes": moved.indexes, "files": moved.files, "old_links": moved.old_links}
        terminal.document({"file": str(path), **document}, output)
        return
    if moved.is_changed:
        click.echo(f"{path}: moved {moved.files} file URLs and {moved.indexes} index URLs")
    else:
        click.echo(f"{path}: nothing to move")
    if moved.old_links:
        click.echo(
            f"{moved.old_links} links of an older mirror stay: lock again to get reversible ones"
        )
