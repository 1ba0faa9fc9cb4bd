"""The reconciler on the command line: install, update, remove, and its status."""

from __future__ import annotations

import click

from cli.options import OutputFormat, WriteOptions
from cli.output import terminal
from cli.output.node_groups import group_targets
from deploy.cluster.client import Cluster
from deploy.evidence.agent_image import choose_agent_image
from deploy.repair import reconciler
from deploy.repair.reconciler import ReconcilerStatus
from mirror.core.errors import InputError, MirrorError


def update(
    cluster: Cluster, image: str | None = None, *, install: bool | None = None
) -> ReconcilerStatus | None:
    """Bring the reconciler up to date after fixes were applied or rolled back.

    ``install`` True installs it, False removes it, None follows the ledger. Returns its status, or
    None where there is none.
    """
    with terminal.progress() as progress:
        if install:
            return reconciler.install(cluster, image, progress)
        if install is False:
            reconciler.uninstall(cluster)
            return None
        try:
            reconciler.refresh(cluster, progress)
        except MirrorError as error:
            # the fixes themselves are done
            click.echo(f"warning: the reconciler is not up to date: {error}", err=True)
    return read_status(cluster)


def install_or_remove(
    cluster: Cluster,
    image: str | None,
    write: WriteOptions,
    *,
    install: bool,
) -> None:
    """Run `mirror fix --keep` or `--no-keep` without naming a fix."""
    if write.dry_run:
        status = reconciler.preview(cluster) if install else reconciler.read_status(cluster)
        _print_status(
            status, write.output, "would reapply" if install else "would be removed: reapplies"
        )
        return
    if not install:
        removed = reconciler.uninstall(cluster)
        if write.output != "table":
            terminal.document({"removed": removed}, write.output)
        else:
            lines = "\n".join(f"removed {name}" for name in removed)
            click.echo(lines or "there is no reconciler")
        return
    with terminal.progress() as progress:
        chosen = choose_agent_image(cluster, image)
        status = reconciler.install(cluster, chosen.reference if chosen else None, progress)
    _print_status(status, write.output, "reapplies")


def read_status(cluster: Cluster) -> ReconcilerStatus | None:
    """Return the reconciler's status; None where there is none, or it cannot be read."""
    try:
        return reconciler.read_status(cluster)
    except MirrorError:
        return None


def _print_status(status: ReconcilerStatus | None, output: OutputFormat, verb: str) -> None:
    if output != "table":
        terminal.document({"keeper": status}, output)
        return
    if status is None:
        click.echo("there is no reconciler")
        return
    if not (status.kept or status.not_kept or status.reported):
        raise InputError(
            "there is nothing to reapply: no fix is applied", next_step="mirror fix all --keep"
        )
    click.echo(f"the reconciler {verb}:")
    for name in group_targets(status.kept):
        click.echo(f"  {name}")
    if status.not_kept:
        click.echo("not covered, because no agent answers there (run `mirror fix --keep` again):")
        for name in group_targets(status.not_kept):
            click.echo(f"  {name}")
    if status.reported:
        click.echo("only watched and reported, because they decide what runs on nodes:")
        for name in group_targets(status.reported):
            click.echo(f"  {name}")
    click.echo("\nits events: kubectl get events -A | grep -E 'FixReverted|FixLost'")
