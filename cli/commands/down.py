"""`mirror down`: stop the mirror."""

from __future__ import annotations

import click

from cli.options import (
    ClusterOptions,
    OutputFormat,
    cluster_options,
    dry_run_option,
    local_option,
    output_option,
    yes_option,
)
from cli.output import terminal
from cli.output.purge_plan import confirm_purge, print_purge
from mirror import volume
from mirror.core.errors import InputError
from mirror.local.mirror import LocalMirror
from mirror.store.inventory import count_files, list_private_projects


@click.command()
@local_option
@cluster_options("2m")
@click.option("--purge", is_flag=True, help="Remove packages, settings and secrets too.")
@dry_run_option
@yes_option
@output_option
def down(
    local: bool,
    target: ClusterOptions,
    purge: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Stop the mirror.

    Packages and its address are kept. With --purge they are removed, after a list
    of what goes (private files by name) and a question.

    \b
    mirror down
    mirror down --purge --dry-run    list what would go
    mirror down --purge --yes        do not ask
    """
    if dry_run and not purge:
        raise InputError(
            "--dry-run needs --purge",
            why="without --purge, nothing is removed that `mirror up` does not bring back",
            next_step="mirror down --purge --dry-run",
        )
    if local:
        _take_down_local(purge=purge, dry_run=dry_run, yes=yes, output=output)
    else:
        _take_down_cluster(target, purge=purge, dry_run=dry_run, yes=yes, output=output)


def _take_down_local(*, purge: bool, dry_run: bool, yes: bool, output: OutputFormat) -> None:
    mirror = LocalMirror()
    if purge and not _confirm_local(mirror, dry_run=dry_run, yes=yes, output=output):
        return
    with terminal.progress() as progress:
        stopped = mirror.down(purge=purge, progress=progress)
    if output != "table":
        terminal.document({"stopped": stopped, "purged": purge}, output)
    else:
        click.echo("stopped" if stopped else "nothing was running")


def _confirm_local(mirror: LocalMirror, *, dry_run: bool, yes: bool, output: OutputFormat) -> bool:
    """List what goes, and ask; returns whether to go on."""
    paths = mirror.paths
    private = list_private_projects(paths.data_dir)
    files, size = count_files(paths.cache_dir / volume.FILES)
    if output == "table":
        rows = [("data", str(paths.data_dir)), ("cached", f"{files} files, {size / 1e6:.1f} MB")]
        rows.append(("settings", str(paths.settings_path)))
        print_purge("--purge removes the mirror on this machine:", rows, private)
    if dry_run:
        if output == "table":
            click.echo("\nnothing was removed")
        else:
            terminal.document({"data": paths.data_dir, "private": private}, output)
        return False
    if paths.data_dir.exists() or paths.settings_path.exists():
        confirm_purge(yes=yes)
    return True


def _take_down_cluster(
    target: ClusterOptions, *, purge: bool, dry_run: bool, yes: bool, output: OutputFormat
) -> None:
    from deploy.lifecycle.down import plan_purge, take_down

    cluster = target.connect()
    if purge:
        with terminal.waiting(f"read context {cluster.context} ({cluster.server})"):
            plan = plan_purge(cluster, target.namespace)
        if output == "table":
            title = f"--purge removes the mirror in {cluster.context}, {target.namespace}:"
            rows = [("objects", ", ".join(plan.objects) or "none")]
            rows += [("published", ", ".join(plan.published))] if plan.published else []
            print_purge(title, rows, plan.private, plan.unlisted)
        if dry_run:
            if output == "table":
                click.echo("\nnothing was removed")
            else:
                terminal.document(plan, output)
            return
        if not plan.is_empty:
            confirm_purge(yes=yes)
    with terminal.progress() as progress:
        result = take_down(cluster, target.namespace, purge=purge, progress=progress)
    if output != "table":
        terminal.document(result, output)
        return
    for name in result.removed:
        click.echo(f"removed {name}")
    for namespace in result.withdrawn:
        click.echo(f"removed the environment from namespace {namespace}")
    if not result.removed:
        click.echo("nothing was running")
    elif not purge:
        click.echo("packages, password and address are kept: `mirror up` brings them back")
