"""`mirror detach`: restore workloads that `mirror attach` changed."""

from __future__ import annotations

import click

from cli.attach_workflow import build_request, print_result, show_and_confirm, workload_options
from cli.options import ClusterOptions, WriteOptions, cluster_options, write_options
from cli.output import terminal
from deploy.repair import attach as attachment
from mirror.core.errors import InputError


@click.command()
@cluster_options("1m", about_workloads=True)
@workload_options
@click.option("-A", "--all-namespaces", is_flag=True, help="Every attached workload.")
@write_options
def detach(
    target: ClusterOptions,
    names: tuple[str, ...],
    workload_namespace: str | None,
    selector: str,
    all_namespaces: bool,
    write: WriteOptions,
) -> None:
    """Restore workloads as they were before `mirror attach`.

    Later edits are kept where they do not overlap with what attach changed.

    \b
    mirror detach deployment/backend -n chronicle
    mirror detach -n chronicle                   every attached workload in it
    mirror detach -A                             every attached workload
    """
    if all_namespaces:
        if names or workload_namespace or selector:
            raise InputError(
                "--all-namespaces cannot be combined with KIND/NAME, --namespace or --selector",
                why="it means every attached workload",
                next_step="mirror detach -A --dry-run",
            )
        cluster = target.connect()
        plan = attachment.plan_detach_all(cluster)
    else:
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
