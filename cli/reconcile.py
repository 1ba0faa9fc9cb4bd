"""The keeper from the command line: made, brought up to date, ended, and how it stands."""

from __future__ import annotations

import click

from cli.options import ClusterOptions, OutputFormat
from cli.output import terminal
from cli.output.node_groups import places
from cli.probe_options import look
from deploy.cluster.client import Cluster
from deploy.repair import reconciler
from deploy.repair.reconciler import ReconcilerStatus
from mirror.core.errors import InputError, MirrorError


def settle(
    cluster: Cluster, image: str | None = None, *, on: bool | None = None
) -> ReconcilerStatus | None:
    """After fixes were made or undone: as it was asked for, else as the ledger now has it."""
    with terminal.progress() as progress:
        if on:
            return reconciler.install(cluster, image, progress)
        if on is False:
            reconciler.uninstall(cluster)
            return None
        try:
            reconciler.refresh(cluster, progress)
        except MirrorError as broken:
            # what was asked for is done; the keeper is another matter
            click.echo(f"warning: the keeper is not up to date: {broken}", err=True)
    return standing_of(cluster)


def alone(
    cluster: Cluster,
    image: str | None,
    target: ClusterOptions,
    output: OutputFormat,
    *,
    on: bool,
    dry_run: bool,
) -> None:
    """`mirror fix --keep` and `--no-keep` for what was fixed before."""
    if dry_run:
        seen = reconciler.preview(cluster) if on else reconciler.read_status(cluster)
        _show(seen, output, "would keep" if on else "would be ended: it keeps")
        return
    if not on:
        gone = reconciler.uninstall(cluster)
        if output != "table":
            terminal.document({"removed": gone}, output)
        else:
            click.echo("\n".join(f"removed {one}" for one in gone) or "there is no keeper")
        return
    with terminal.progress() as progress:
        made = reconciler.install(cluster, look(cluster, target, image=image).image, progress)
    _show(made, output, "keeps")


def standing_of(cluster: Cluster) -> ReconcilerStatus | None:
    """The keeper; None where there is none, or it may not be seen."""
    try:
        return reconciler.read_status(cluster)
    except MirrorError:
        return None


def _show(seen: ReconcilerStatus | None, output: OutputFormat, word: str) -> None:
    if output != "table":
        terminal.document({"keeper": seen}, output)
        return
    if seen is None:
        click.echo("there is no keeper")
        return
    if not seen.keeps and not seen.leaves:
        raise InputError(
            "there is nothing to keep: no fix is made", next_step="mirror fix all --keep"
        )
    click.echo(f"the keeper {word}:")
    for name in places(seen.keeps):
        click.echo(f"  {name}")
    if seen.leaves:
        click.echo("not kept now, since no agent there answers (`mirror fix --keep` again):")
        for name in places(seen.leaves):
            click.echo(f"  {name}")
    click.echo("\nwhat it does: kubectl get events -A | grep -E 'FixReverted|FixLost'")
