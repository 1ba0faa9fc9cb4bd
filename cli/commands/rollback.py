"""`mirror rollback`: undo fixes."""

from __future__ import annotations

import click

from cli import fix_workflow, reconciler_workflow
from cli.options import ClusterOptions, WriteOptions, cluster_options, write_options
from cli.output import fix_plan, terminal
from deploy.repair.rollback import plan_rollback, roll_back


@click.command()
@fix_workflow.fix_names
@cluster_options("3m")
@write_options
def rollback(names: tuple[str, ...], target: ClusterOptions, write: WriteOptions) -> None:
    """Undo fixes: restore what was there before them, byte for byte.

    Later edits are kept where they do not overlap with the fix. Where they overlap, nothing is
    written and both texts are shown. Without NAME: every fix.

    \b
    mirror rollback dns --dry-run        show the difference only
    mirror rollback                      undo everything, the last fix first
    """
    cluster = target.connect()
    with fix_workflow.without_idle_agents(cluster, rolled_back=True, dry_run=write.dry_run):
        plan = plan_rollback(cluster, names, dry_run=write.dry_run)
        if write.output == "table":
            fix_plan.print_plan(plan)
        if write.dry_run:
            if write.output == "table":
                click.echo("\nnothing was written")
            else:
                terminal.document(fix_plan.plan_document(plan), write.output)
            return
        has_work = bool(plan.updates or plan.unreachable or plan.failures)
        if plan.updates or plan.unreachable:
            fix_workflow.confirm(plan, write)
        if has_work or write.output != "table":
            with terminal.progress() as progress:
                result = roll_back(cluster, plan, progress, force=write.force)
        reconciler = reconciler_workflow.update(cluster)
    if write.output != "table":
        terminal.document(fix_plan.result_document(result, reconciler), write.output)
    elif has_work:
        fix_plan.print_result(result, reconciler=reconciler)
    else:
        click.echo("nothing to undo")
