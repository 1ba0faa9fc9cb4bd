"""`mirror rollback`: undo fixes."""

from __future__ import annotations

import click

from cli import fix_workflow, reconciler_workflow
from cli.connect import connect
from cli.options import (
    ClusterOptions,
    OutputFormat,
    cluster_options,
    dry_run_option,
    output_option,
    yes_option,
)
from cli.output import fix_plan, terminal
from deploy.repair.rollback import plan_rollback, roll_back


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@cluster_options(default_timeout=180)
@click.option("--force", is_flag=True, help="Discard later edits; the plan names them.")
@dry_run_option
@yes_option
@output_option
def rollback(
    names: tuple[str, ...],
    target: ClusterOptions,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Undo fixes: restore what was there before them, byte for byte.

    Later edits are kept where they do not overlap with the fix. Where they overlap, nothing is
    written and both texts are shown. Without NAME: every fix.

    \b
    mirror rollback dns --dry-run        show the difference only
    mirror rollback                      undo everything, the last fix first
    """
    cluster = connect(target)
    with fix_workflow.without_idle_agents(cluster, rolled_back=not dry_run):
        plan = plan_rollback(cluster, names)
        if output == "table":
            fix_plan.print_plan(plan)
        if dry_run:
            fix_plan.print_dry_run(plan, output)
            return
        if not plan.updates and not plan.unreachable:
            reconciler_workflow.update(cluster)
            if output == "table":
                click.echo("nothing to undo")
            else:
                fix_plan.print_result(roll_back(cluster, plan, force=force), output)
            return
        fix_workflow.confirm(plan, yes=yes, force=force)
        with terminal.progress() as progress:
            result = roll_back(cluster, plan, progress, force=force)
        fix_plan.print_result(result, output, reconciler=reconciler_workflow.update(cluster))
