"""Run fixes from the command line: options, plan, confirmation, apply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import click

from cli import completion, reconciler_workflow
from cli.collect_options import build_collect_options
from cli.inputs import Checked, check_extension
from cli.options import ClusterOptions, WriteOptions
from cli.output import fix_plan, terminal
from deploy.changes.fix import Fix, FixOption
from deploy.cluster.client import Cluster
from deploy.evidence.agent_image import choose_agent_image
from deploy.evidence.agent_users import using_agents
from deploy.fix_registry import load_fixes
from deploy.repair.apply import apply_plan
from deploy.repair.model import FixProofError, FixRequest, RepairPlan
from deploy.repair.node_agents import remove_idle_agents
from deploy.repair.plan import plan_fixes
from deploy.repair.reconciler import refresh_agents
from mirror.core.errors import InputError, MirrorError, RefusedError

fix_names = click.argument(
    "names",
    nargs=-1,
    metavar="[NAME]...",
    type=Checked(
        "fix",
        check_extension("deploy.fixes", "fix", "list them: mirror fix", "all"),
        completion.list_fixes,
    ),
)


def fix_options(function: Any) -> Any:
    """Add the options that the fixes declare."""
    for option in reversed([option for fix in load_fixes().values() for option in fix.options]):
        function = _click_option(option)(function)
    return function


def _click_option(option: FixOption) -> Any:
    name = option.name.replace("-", "_")
    if option.kind == "flag":
        return click.option(f"--{option.name}", name, is_flag=True, help=option.help)
    return click.option(
        f"--{option.name}",
        name,
        metavar=option.metavar,
        help=option.help,
        multiple=option.kind == "list",
    )


def check_options(given: Mapping[str, Any], fixes: Iterable[Fix]) -> None:
    """Raise InputError for an option of a fix that was not named, or a value it cannot take."""
    known = {option.name: option for fix in fixes for option in fix.options}
    for name, value in given.items():
        if value and name in known and known[name].kind != "flag":
            for text in [value] if isinstance(value, str) else value:
                known[name].check(text)
        if value and name not in known:
            owner = next(
                fix.name
                for fix in load_fixes().values()
                if name in {option.name for option in fix.options}
            )
            raise InputError(
                f"--{name} is an option of fix {owner}, which was not named",
                why="named: " + (", ".join(fix.name for fix in fixes) or "none"),
                next_step=f"see its options and examples: mirror fix {owner} --help",
            )


def run_fixes(
    cluster: Cluster,
    request: FixRequest,
    write: WriteOptions,
    *,
    undo: str,
    install_reconciler: bool | None = None,
) -> Any:
    """Plan, confirm, apply and prove fixes, and print it; return it for programs.

    ``undo`` is the command that reverts them. ``install_reconciler`` None follows the ledger.
    """
    with without_idle_agents(cluster, dry_run=write.dry_run):
        with terminal.progress() as progress:
            plan = plan_fixes(cluster, request, progress)
        if write.output == "table":
            fix_plan.print_plan(plan)
        if write.dry_run:
            if write.output == "table":
                click.echo("\nnothing was written")
            return fix_plan.plan_document(plan)
        restarts = any(workload.restarts for workload in plan.stale_workloads)
        if (restarts or not plan.is_noop) and not plan.blocking:
            confirm(plan, write)
        with terminal.progress() as progress:
            result = apply_plan(cluster, request, plan, progress)
        agent_image = request.look.agent_image
        image = agent_image.reference if agent_image else None
        status = reconciler_workflow.update(cluster, image, install=install_reconciler)
    if write.output == "table":
        fix_plan.print_result(result, undo=undo, reconciler=status)
    return fix_plan.result_document(result, status)


def run_all_fixes(
    target: ClusterOptions, image: str | None, write: WriteOptions, *, agent_image: str | None
) -> Any:
    """Run every fix with the defaults of its options, in one plan with a deadline of its own.

    ``image`` is that of probe pods; ``agent_image`` that of node agents, None if it is recorded.
    """
    cluster = target.connect()
    defaults: Mapping[str, Any] = {"flag": False, "list": (), "text": None}
    fixes = tuple(load_fixes().values())
    options = {option.name: defaults[option.kind] for fix in fixes for option in fix.options}
    look = replace(
        build_collect_options(cluster, target, image=image),
        agent_image=choose_agent_image(cluster, agent_image),
    )
    request = FixRequest(fixes=fixes, options=options, look=look, dry_run=write.dry_run)
    return run_fixes(cluster, request, write, undo="mirror rollback")


def confirm(plan: RepairPlan, write: WriteOptions) -> None:
    """Ask before anything is written. Raises click.Abort if the user declines."""
    if write.yes or (any(diff.drops for diff in plan.diffs) and not write.force):
        return  # a plan that would discard edits is refused later, so there is nothing to confirm
    check_answerable(write)
    click.confirm("\nwrite this?", abort=True, err=True)


def check_answerable(write: WriteOptions) -> None:
    """Raise InputError if fixes need a confirmation but nobody can be asked."""
    write.check_can_ask("this changes objects that are not the mirror's own")


@contextmanager
def without_idle_agents(
    cluster: Cluster, *, rolled_back: bool = False, dry_run: bool = False
) -> Iterator[None]:
    """When the block ends, even with an error, remove node agents that nothing needs.

    If the block fails, the agents are first brought up to date with the ledger, so that they keep
    an interrupted change as it was left. ``rolled_back``: the block rolled fixes back. Raises
    FixProofError if a node could not be reached for that. A dry run leaves the agents as they are.
    """
    if dry_run:
        yield
        return
    remaining: tuple[str, ...] = ()
    try:
        with using_agents(cluster):
            try:
                yield
            except MirrorError:
                with suppress(MirrorError):
                    refresh_agents(cluster)
                raise
    finally:
        try:
            remaining = remove_idle_agents(cluster, rolled_back=rolled_back)
        except RefusedError as error:
            click.echo(f"note: the node agents stay for now: {error}", err=True)
        except MirrorError:
            pass  # the error that ends the command says more
        for line in remaining:
            click.echo(f"warning: the node agent could not undo: {line}", err=True)
    if remaining and rolled_back:
        raise FixProofError(
            "the rollback is not complete",
            why="\n".join(remaining),
            next_step="the node agent stays and undoes it when the node is back; then run mirror "
            "rollback again",
        )
