"""`mirror detach`: restore workloads that `mirror attach` changed."""

from __future__ import annotations

import click

from cli.attach_workflow import build_request, print_result, show_and_confirm, workload_options
from cli.options import ClusterOptions, WriteOptions, cluster_options, write_options
from cli.output import terminal
from deploy.repair import attach as attachment


@click.command()
@cluster_options("1m", about_workloads=True)
@workload_options
@write_options
def detach(
    target: ClusterOptions,
    names: tuple[str, ...],
    workload_namespace: str | None,
    selector: str,
    write: WriteOptions,
) -> None:
    """Restore workloads as they were before `mirror attach`.

    Later edits are kept where they do not overlap with what attach changed.

    \b
    mirror detach deployment/backend -n chronicle
    mirror detach -n chronicle                   every attached workload in it
    """
    request = build_request(
        target.namespace, names, workload_namespace, selector, force=write.force
    )
    cluster = target.connect()
    plan = attachment.plan_detach(cluster, request)
    if not show_and_confirm(plan, write):
        return
    with terminal.progress() as progress:
        written = attachment.detach(cluster, plan, progress, force=write.force)
    print_result(plan, written, write)
