"""`mirror status`."""

from __future__ import annotations

import click

from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from cli.output import mirror_state, terminal
from mirror.client import IndexClient
from mirror.core.codec import dump
from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror


@click.command()
@local_option
@cluster_options(default_timeout=30)
@output_option
def status(local: bool, target: ClusterOptions, output: OutputFormat) -> None:
    """Show whether the mirror is well, where it is, and what it keeps.

    Ends with 1 where it is not running.
    """
    if local:
        deadline = Deadline.after(target.timeout)
        here = LocalMirror().read_status(deadline)
        told = None
        if here.state == "running":
            with IndexClient(here.endpoint.root_url, deadline) as client:
                try:
                    told = client.read_stats()
                except MirrorError:
                    told = None  # its state says what is wrong
        mirror_state.local(here, told, output)
        click.get_current_context().exit(0 if here.state == "running" else 1)
    from cli import reconcile
    from cli.connect import connect
    from cli.output import fix_plan
    from deploy.lifecycle.status import read_status as look

    cluster = connect(target)
    seen, fixes = look(cluster, target.namespace), fix_plan.standing_of(cluster)
    keeper = reconcile.standing_of(cluster)
    if output != "table":
        url = seen.endpoint and seen.endpoint.url
        rate = seen.figures and seen.figures.hit_rate
        more = {
            "url": url,
            "hit_rate": rate,
            "fixes": dump(fixes),
            "keeper": dump(keeper),
        }
        terminal.document({**dump(seen), **more}, output)
    else:
        held = f"; its volume is on {seen.holder}" if seen.holder else ""
        terminal.facts(
            f"mirror in {seen.context}, namespace {seen.namespace}: {seen.state}",
            [
                ("index", seen.endpoint.url if seen.endpoint else "-"),
                ("versions", f"command {seen.command}, devpi {seen.version or '-'}"),
                ("image", seen.image or "-"),
                ("node", f"{seen.node or '-'}{held}"),
                ("volume", seen.volume or "-"),
                *mirror_state.figures(seen.figures),
                ("published", ", ".join(seen.published) or "nowhere: mirror env --publish NS"),
                *(("trouble", line) for line in seen.trouble),
                *fix_plan.rows(fixes),
                *(fix_plan.keeper_rows(keeper) if keeper else ()),
            ],
        )
    click.get_current_context().exit(0 if seen.state == "running" else 1)
