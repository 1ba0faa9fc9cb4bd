"""`mirror up`, `status`, `down`, `manifests`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import show
from cli.options import OutputFormat, local_option, output_option
from mirror.core.wait import Deadline
from mirror.local import LocalMirror, LocalStatus


@click.command()
@local_option
@click.option("--port", type=int, help="Port to listen on.  [default: 3141]")
@click.option("--upstream", metavar="URL", help="Index to mirror.  [default: devpi's own]")
@click.option(
    "--ca-bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CA certificates (PEM), where the network intercepts TLS.",
)
@click.option("--timeout", type=float, default=300, show_default=True, metavar="SECONDS")
@output_option
def up(
    local: bool,
    port: int | None,
    upstream: str | None,
    ca_bundle: Path | None,
    timeout: float,
    output: OutputFormat,
) -> None:
    """Start the mirror, or bring it to these settings."""
    given: dict[str, Any] = {
        "port": port,
        "upstream": upstream,
        "ca_bundle": str(ca_bundle.resolve()) if ca_bundle else None,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    with show.progress() as progress:
        status = LocalMirror().up(
            changes=changes, progress=progress, deadline=Deadline.after(timeout)
        )
    _show_local(status, output)


@click.command()
@local_option
@output_option
def status(local: bool, output: OutputFormat) -> None:
    """Show whether the mirror is well, and where."""
    _show_local(LocalMirror().status(Deadline.after(10)), output)


@click.command()
@local_option
@click.option("--purge", is_flag=True, help="Remove packages, settings and secrets too.")
def down(local: bool, purge: bool) -> None:
    """Stop the mirror; packages stay unless --purge."""
    with show.progress() as progress:
        stopped = LocalMirror().down(purge=purge, progress=progress)
    click.echo("stopped" if stopped else "nothing was running")


def _show_local(status: LocalStatus, output: OutputFormat) -> None:
    if output != "table":
        show.document({**show.plain(status), "url": status.endpoint.url}, output)
        return
    show.facts(
        f"mirror on this machine: {status.state}",
        [
            ("index", status.endpoint.url),
            ("front", status.front),
            ("devpi", status.version or "-"),
            ("cached", f"{status.cached_files} files, {status.cached_bytes / 1e6:.1f} MB"),
            ("data", str(status.data)),
        ],
    )
    if status.state == "running":
        click.echo('\nnext: eval "$(mirror env --local)" and install as ever')
