"""`mirror detach`: restore workloads that `mirror attach` changed."""

from __future__ import annotations

import click

from cli.attach_workflow import build_request, print_result, show_and_confirm, workload_options
from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from cli.output import terminal
from deploy.repair import attach as attachment


@click.command()
@cluster_options(default_timeout=60, mirror_flags=("--mirror-namespace",))
@workload_options
@output_option
def detach(
    target: ClusterOptions,
    names: tuple[str, ...],
    workload_namespace: str | None,
    selector: str,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Restore workloads as they were before `mirror attach`.

    Later edits are kept where they do not overlap with what attach changed.

    \b
    mirror detach deployment/backend -n chronicle
    mirror detach -n chronicle                   every attached workload in it
    """
    cluster = connect(target)
    request = build_request(target.namespace, names, workload_namespace, selector, force=force)
    plan = attachment.plan_detach(cluster, request)
    if not show_and_confirm(plan, output, dry_run=dry_run, yes=yes, force=force):
        return
    with terminal.progress() as progress:
        written = attachment.detach(cluster, plan, progress, force=force)
    print_result(plan, written, output)
