"""`mirror down`: stop the mirror."""

from __future__ import annotations

import click

from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import terminal
from mirror.local.mirror import LocalMirror


@click.command()
@local_option
@cluster_options("2m")
@click.option("--purge", is_flag=True, help="Remove packages, settings and secrets too.")
@output_option
def down(local: bool, target: ClusterOptions, purge: bool, output: OutputFormat) -> None:
    """Stop the mirror.

    Packages and its address are kept unless you pass --purge.
    """
    if local:
        with terminal.progress() as progress:
            stopped = LocalMirror().down(purge=purge, progress=progress)
        if output != "table":
            terminal.document({"stopped": stopped, "purged": purge}, output)
        else:
            click.echo("stopped" if stopped else "nothing was running")
        return
    from deploy.lifecycle.down import take_down

    with terminal.progress() as progress:
        result = take_down(target.connect(), target.namespace, purge=purge, progress=progress)
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
