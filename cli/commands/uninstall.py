"""`mirror uninstall`: remove the mirror and everything that it changed."""

from __future__ import annotations

from collections.abc import Iterable

import click

from cli import fix_workflow
from cli.options import ClusterOptions, WriteOptions, cluster_options, write_options
from cli.output import fix_plan, terminal
from cli.output.node_groups import group_targets
from cli.output.purge_plan import confirm_purge, print_purge
from deploy.repair.uninstall import (
    OurObject,
    UninstallPlan,
    UninstallResult,
    plan_uninstall,
)
from deploy.repair.uninstall import uninstall as run_uninstall


@click.command()
@cluster_options("10m")
@write_options
def uninstall(target: ClusterOptions, write: WriteOptions) -> None:
    """Remove the mirror and everything that it changed.

    In this order: roll back fixes, remove the reconciler and the node agents, detach
    workloads, remove published ConfigMaps, and purge the mirror. Then the whole cluster
    is searched: the command fails if an object of the mirror is left. Images stay on
    the nodes until the kubelet removes unused ones.

    \b
    mirror uninstall --dry-run       list what goes, private files by name
    mirror uninstall
    mirror down --local --purge      the mirror on this machine
    """
    cluster = target.connect()
    with fix_workflow.without_idle_agents(cluster, rolled_back=True, dry_run=write.dry_run):
        with terminal.waiting(f"read context {cluster.context} ({cluster.server})"):
            plan = plan_uninstall(cluster, target.namespace, dry_run=write.dry_run)
        if write.output == "table":
            _print_plan(plan, f"{cluster.context}, {target.namespace}")
        if write.dry_run or plan.is_empty:
            if write.output != "table":
                terminal.document(_document(plan), write.output)
            elif write.dry_run:
                click.echo("\nnothing was removed")
            return
        confirm_purge(yes=write.yes)
        with terminal.progress() as progress:
            result = run_uninstall(cluster, target.namespace, plan, progress, force=write.force)
    if write.output == "table":
        _print_result(result)
    else:
        terminal.document(result, write.output)


def _print_plan(plan: UninstallPlan, where: str) -> None:
    rolled_back = group_targets([str(update.target) for update in plan.rollback.updates])
    rows = [("roll back", name) for name in rolled_back]
    rows += [("unreachable", str(target)) for target in plan.rollback.unreachable]
    rows += [("cannot undo", str(failure)) for failure in plan.rollback.failures]
    rows += [("detach", name) for name in plan.attachments.workloads]
    rows += [("unpublish", name) for name in plan.purge.published]
    rows += [("remove", name) for name in (*plan.purge.objects, *plan.others)]
    if plan.is_empty:
        click.echo(f"nothing of the mirror is in {where}")
        _print_unproven(plan.unproven)
        return
    print_purge(f"uninstall from {where}:", rows, plan.purge.private, plan.purge.unlisted)
    _print_unproven(plan.unproven)
    fix_plan.print_diffs([*plan.rollback.diffs, *plan.attachments.diffs])


def _document(plan: UninstallPlan) -> dict[str, object]:
    return {
        "rollback": fix_plan.plan_document(plan.rollback),
        "detach": plan.attachments.workloads,
        "purge": plan.purge,
        "others": plan.others,
        "unproven": plan.unproven,
    }


def _print_result(result: UninstallResult) -> None:
    for verb, names in (
        ("rolled back", group_targets(result.rolled_back)),
        ("detached", result.detached),
        ("removed the environment from namespace", result.withdrawn),
        ("removed", result.removed),
    ):
        for name in names:
            click.echo(f"{verb}: {name}" if verb != "removed" else f"{verb} {name}")
    _print_unproven(result.unproven)
    if result.other_mirrors:
        for name in result.other_mirrors:
            click.echo(f"another mirror stays: mirror uninstall --mirror-namespace {name}")
    else:
        click.echo("nothing of the mirror is left in the cluster")
    if result.unchecked:
        click.echo(f"not looked for, because you may not list them: {', '.join(result.unchecked)}")


def _print_unproven(objects: Iterable[OurObject]) -> None:
    for obj in objects:
        click.echo(
            f"left alone: {obj} has the mirror's label, but no record says that it is the "
            f"mirror's; if it is: {obj.delete_command}"
        )
