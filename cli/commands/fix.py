"""`mirror fix` and `mirror rollback`."""

from __future__ import annotations

from typing import Any

import click

from cli import fix_workflow, reconcile
from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from cli.output import fix_plan, terminal
from cli.probe_options import look
from deploy.changes.model import Fix
from deploy.repair import apply
from deploy.repair import restart as restart_module
from deploy.repair.plan import FixRequest, load_fixes, select_fixes
from mirror.core.errors import InputError

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_dry = click.option("--dry-run", is_flag=True, help="Show the plan; write nothing.")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@cluster_options(default_timeout=420)
@click.option("--image", metavar="REF", help="Image of the probe pods.  [default: the mirror's]")
@click.option(
    "--name",
    "hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Name that the proof looks for.  [default: the upstream index]",
)
@fix_workflow.options
@click.option(
    "--restart",
    metavar="SELECTOR|all",
    help="pod-sysctl: roll workloads (by their labels) whose running pods keep IPv6.",
)
@click.option(
    "--restart-system", is_flag=True, help="With --restart: kube-system's and the mirror's too."
)
@click.option(
    "--keep/--no-keep",
    "keeper",
    default=None,
    help="Leave a keeper in the cluster that puts back what something reverts, or end it.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Drop somebody's edits where they touch the fix; the plan says which.",
)
@_dry
@_yes
@output_option
def fix(
    names: tuple[str, ...],
    target: ClusterOptions,
    image: str | None,
    hosts: tuple[str, ...],
    restart: str | None,
    restart_system: bool,
    keeper: bool | None,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
    **options: Any,
) -> None:
    """End a cause that makes pods fail, in a way that can be undone.

    Shows the plan first: what is changed, who notices it, and the difference. What was there is
    stored in kube-system before anything is written; `mirror rollback` puts it back byte for byte.
    After writing, pods on every node prove the effect. Without NAME: what there is, and how it
    stands. `all` is every fix.

    \b
    mirror fix search-domains            a search domain that answers everything (mirror doctor)
    mirror fix dns --dry-run             no IPv6 addresses for pods: the plan only
    mirror fix dns --keep-aaaa home.example --yes
    mirror fix dns --forward 8.8.8.8 --forward 8.8.4.4 --prefer-udp
    mirror fix pod-sysctl --restart all --dry-run    running pods too, by their workloads
    mirror fix all --keep                puts back what an add-on reverts; --no-keep ends that
    """
    cluster = connect(target)
    fixes = select_fixes(names)
    if not fixes:
        if keeper is not None:
            reconcile.alone(cluster, image, target, output, on=keeper, dry_run=dry_run)
        else:
            fix_plan.standing(apply.read_fix_states(cluster), output, load_fixes())
        return
    options = {name.replace("_", "-"): value for name, value in options.items()}
    fix_workflow.check(options, fixes)
    rolled = _restart(restart, fixes, target, system=restart_system)
    request = FixRequest(
        fixes=fixes,
        options=options,
        look=look(cluster, target, image=image, names=hosts),
        force=force,
        restart=rolled,
    )
    with fix_workflow.tidied(cluster):
        planned = fix_workflow.plan(cluster, request, output)
        if dry_run:
            fix_plan.not_written(planned, output)
            if keeper and output == "table":
                click.echo("a keeper would be left in the cluster: docs/fixes.md has its rights")
            return
        done = fix_workflow.carry_out(cluster, request, planned, yes=yes)
        kept = reconcile.settle(cluster, request.look.image, on=keeper)
        undo = f"mirror rollback {' '.join(f.name for f in fixes)}"
        fix_plan.repaired(done, output, undo=undo, keeper=kept)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@cluster_options(default_timeout=180)
@click.option("--force", is_flag=True, help="Drop somebody's later edits; the plan says which.")
@_dry
@_yes
@output_option
def rollback(
    names: tuple[str, ...],
    target: ClusterOptions,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Undo fixes: put back what was there before them, byte for byte.

    Edits that somebody made since are kept where they do not touch what the fix changed; where they
    do, nothing is written and both texts are shown. Without NAME: every fix.

    \b
    mirror rollback dns --dry-run        the difference only
    mirror rollback                      everything, the last first
    """
    cluster = connect(target)
    with fix_workflow.tidied(cluster, undone=not dry_run):
        planned = apply.plan_rollback(cluster, names)
        if output == "table":
            fix_plan.plan(planned)
        if dry_run:
            fix_plan.not_written(planned, output)
            return
        if not planned.updates and not planned.unreachable:
            reconcile.settle(cluster)
            if output == "table":
                click.echo("nothing to undo")
            else:
                fix_plan.repaired(apply.roll_back(cluster, planned, force=force), output)
            return
        fix_workflow.confirm(planned, yes=yes, force=force)
        with terminal.progress() as progress:
            done = apply.roll_back(cluster, planned, progress, force=force)
        fix_plan.repaired(done, output, keeper=reconcile.settle(cluster))


def _restart(
    selector: str | None, fixes: tuple[Fix, ...], target: ClusterOptions, *, system: bool
) -> restart_module.RestartRequest | None:
    """Which workloads are asked for. Raises InputError where it means nothing."""
    if selector is None:
        if system:
            raise InputError("--restart-system without --restart", next_step="give --restart all")
        return None
    if restart_module.FIX_NAME not in {one.name for one in fixes}:
        raise InputError(
            "--restart belongs to fix pod-sysctl, which is not asked for",
            next_step=f"mirror fix pod-sysctl --restart {selector}",
        )
    if not selector.strip():
        raise InputError("--restart: no selector", next_step="such as app=backend, or all")
    return restart_module.RestartRequest(
        selector=selector, system=system, namespace=target.namespace
    )
