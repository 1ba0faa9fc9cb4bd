"""`mirror status`: whether the mirror is healthy."""

from __future__ import annotations

from contextlib import suppress

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
@cluster_options("30s")
@output_option
def status(local: bool, target: ClusterOptions, output: OutputFormat) -> None:
    """Show whether the mirror is healthy, and what it stores.

    Exits with 1 if it is not running.
    """
    if local:
        _show_local(Deadline.after(target.timeout), output)
    else:
        _show_cluster(target, output)


def _show_local(deadline: Deadline, output: OutputFormat) -> None:
    mirror_status = LocalMirror().read_status(deadline)
    cache = None
    if mirror_status.state == "running":
        with (
            IndexClient(mirror_status.endpoint.root_url, deadline) as client,
            suppress(MirrorError),
        ):
            cache = client.read_stats()
    mirror_state.print_local(mirror_status, cache, output)
    click.get_current_context().exit(0 if mirror_status.state == "running" else 1)


def _show_cluster(target: ClusterOptions, output: OutputFormat) -> None:
    from cli import reconciler_workflow
    from cli.output import fix_plan
    from deploy.lifecycle.status import read_status

    cluster = target.connect()
    with terminal.waiting(f"read context {cluster.context} ({cluster.server})"):
        mirror_status = read_status(cluster, target.namespace)
        fixes = fix_plan.try_read_states(cluster)
        reconciler = reconciler_workflow.read_status(cluster)
    endpoint, cache = mirror_status.endpoint, mirror_status.figures
    if output != "table":
        document = {
            **dump(mirror_status),
            "url": endpoint and endpoint.url,
            "hit_rate": cache and cache.hit_rate,
            "fixes": dump(fixes),
            "keeper": dump(reconciler),
        }
        terminal.document(document, output)
    else:
        holder = f"; its volume is on {mirror_status.holder}" if mirror_status.holder else ""
        published = ", ".join(mirror_status.published)
        terminal.facts(
            f"mirror in {mirror_status.context}, namespace {mirror_status.namespace}: "
            f"{mirror_status.state}",
            [
                ("index", endpoint.url if endpoint else "-"),
                (
                    "versions",
                    f"command {mirror_status.command}, devpi {mirror_status.version or '-'}",
                ),
                ("image", mirror_status.image or "-"),
                ("node", f"{mirror_status.node or '-'}{holder}"),
                ("volume", mirror_status.volume or "-"),
                *mirror_state.cache_rows(cache),
                ("published", published or "nowhere: mirror env --publish NAMESPACE"),
                *(("trouble", line) for line in mirror_status.trouble),
                *fix_plan.state_rows(fixes),
                *(fix_plan.reconciler_rows(reconciler) if reconciler else ()),
            ],
        )
    click.get_current_context().exit(0 if mirror_status.state == "running" else 1)
