"""`mirror status`."""

from __future__ import annotations

import click

from cli import show, show_mirror
from cli.options import ClusterOptions, OutputFormat, cluster_options, local_option, output_option
from mirror.client import IndexClient
from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline
from mirror.local import LocalMirror


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
        show_mirror.local(here, told, output)
        click.get_current_context().exit(0 if here.state == "running" else 1)
    from cli import keeping, show_fixes
    from cli.connect import connect
    from deploy.status import read_status as look

    cluster = connect(target)
    seen, fixes = look(cluster, target.namespace), show_fixes.standing_of(cluster)
    keeper = keeping.standing_of(cluster)
    if output != "table":
        url = seen.endpoint and seen.endpoint.url
        rate = seen.figures and seen.figures.hit_rate
        more = {
            "url": url,
            "hit_rate": rate,
            "fixes": show.plain(fixes),
            "keeper": show.plain(keeper),
        }
        show.document({**show.plain(seen), **more}, output)
    else:
        held = f"; its volume is on {seen.holder}" if seen.holder else ""
        show.facts(
            f"mirror in {seen.context}, namespace {seen.namespace}: {seen.state}",
            [
                ("index", seen.endpoint.url if seen.endpoint else "-"),
                ("versions", f"command {seen.command}, devpi {seen.version or '-'}"),
                ("image", seen.image or "-"),
                ("node", f"{seen.node or '-'}{held}"),
                ("volume", seen.volume or "-"),
                *show_mirror.figures(seen.figures),
                ("published", ", ".join(seen.published) or "nowhere: mirror env --publish NS"),
                *(("trouble", line) for line in seen.trouble),
                *show_fixes.rows(fixes),
                *(show_fixes.keeper_rows(keeper) if keeper else ()),
            ],
        )
    click.get_current_context().exit(0 if seen.state == "running" else 1)
