"""`mirror attach`: let workloads use the mirror."""

from __future__ import annotations

import click

from cli.attach_workflow import build_request, print_result, show_and_confirm, workload_options
from cli.options import ClusterOptions, WriteOptions, cluster_options, write_options
from cli.output import terminal
from deploy.repair import attach as attachment


@click.command()
@cluster_options("1m", about_workloads=True)
@click.option("--ndots", is_flag=True, help="Also set dnsConfig ndots 1.")
@click.option("--no-index", is_flag=True, help="Only set --ndots; needs no mirror.")
@workload_options
@write_options
def attach(
    target: ClusterOptions,
    names: tuple[str, ...],
    workload_namespace: str | None,
    selector: str,
    ndots: bool,
    no_index: bool,
    write: WriteOptions,
) -> None:
    """Let workloads use the mirror: its environment, by envFrom.

    With --ndots their pods also try a name as it is before the search domains. That fixes `Name
    has no usable address` for these workloads and affects no others. Their pods are replaced.
    `mirror detach` restores their specs exactly.

    \b
    mirror attach deployment/backend -n chronicle
    mirror attach -n chronicle                        every workload in it
    mirror attach -l app=speech -n chronicle --ndots
    mirror attach sts/worker -n chronicle --ndots --no-index
    """
    request = build_request(
        target.namespace,
        names,
        workload_namespace,
        selector,
        index=not no_index,
        ndots=ndots,
        force=write.force,
    )
    cluster = target.connect()
    with terminal.waiting(f"read context {cluster.context} ({cluster.server})"):
        plan = attachment.plan_attach(cluster, request)
    if not show_and_confirm(plan, write):
        return
    with terminal.progress() as progress:
        written = attachment.attach(cluster, request, plan, progress)
    print_result(plan, written, write, undo="mirror detach")
