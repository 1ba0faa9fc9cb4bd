"""From a fix's options to its end: plan, show, ask, write, prove; for every command that fixes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import click

from cli import reconcile
from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat
from cli.output import fix_plan, terminal
from cli.probe_options import look
from deploy.changes.model import Fix, Option
from deploy.cluster.client import Cluster
from deploy.repair import apply, reconciler
from deploy.repair.plan import FixProofError, FixRequest, RepairPlan, RepairResult, load_fixes
from mirror.core.errors import InputError, MirrorError


def options(function: Any) -> Any:
    """The options that the fixes themselves name."""
    for one in reversed([option for fix in load_fixes().values() for option in fix.options]):
        function = _option(one)(function)
    return function


def _option(one: Option) -> Any:
    name = one.name.replace("-", "_")
    if one.kind == "flag":
        return click.option(f"--{one.name}", name, is_flag=True, help=one.help)
    many = one.kind == "list"
    return click.option(f"--{one.name}", name, metavar=one.metavar, help=one.help, multiple=many)


def check(given: Mapping[str, Any], fixes: Iterable[Fix]) -> None:
    """An option belongs to a fix that was asked for."""
    mine = {one.name for fix in fixes for one in fix.options}
    for name, value in given.items():
        if value and name not in mine:
            owner = next(
                f.name for f in load_fixes().values() if name in {o.name for o in f.options}
            )
            raise InputError(
                f"--{name} is an option of fix {owner}, which is not asked for",
                next_step=f"mirror fix {owner} --{name} …",
            )


def plan(cluster: Cluster, request: FixRequest, output: OutputFormat) -> RepairPlan:
    """Look and decide; the plan is shown where a person reads."""
    with terminal.progress() as progress:
        planned = apply.plan_fixes(cluster, request, progress)
    if output == "table":
        fix_plan.plan(planned)
    return planned


def carry_out(
    cluster: Cluster, request: FixRequest, planned: RepairPlan, *, yes: bool
) -> RepairResult:
    """Ask, unless there is nothing to ask; then write and prove."""
    rolls = any(one.restarts for one in planned.stale_workloads)
    if (rolls or not planned.is_noop) and not planned.blocking:
        confirm(planned, yes=yes, force=request.force)
    with terminal.progress() as progress:
        return apply.apply_plan(cluster, request, planned, progress)


def foresee_all(
    target: ClusterOptions, image: str | None, told: Mapping[str, Any], output: OutputFormat
) -> None:
    """The plan of every fix, after ``told``; writes nothing."""
    cluster = connect(target)
    with tidied(cluster):
        planned = plan(cluster, _all(cluster, target, image), output)
    if output != "table":
        terminal.document({**told, "fixes": fix_plan.plan_document(planned)}, output)


def make_all(
    target: ClusterOptions,
    image: str,
    told: Mapping[str, Any],
    output: OutputFormat,
    *,
    yes: bool,
) -> None:
    """Every fix by one plan, for a command that did something else first and ``told`` of it."""
    cluster = connect(target)  # with time of its own
    request = _all(cluster, target, image)
    with tidied(cluster):
        planned = plan(cluster, request, output)
        done = carry_out(cluster, request, planned, yes=yes)
        kept = reconcile.settle(cluster)
    if output != "table":
        terminal.document({**told, "fixes": done}, output)
    else:
        fix_plan.repaired(done, output, undo="mirror rollback", keeper=kept)


def _all(cluster: Cluster, target: ClusterOptions, image: str | None) -> FixRequest:
    """Every fix, each with what its options are by themselves."""
    unset: Mapping[str, Any] = {"flag": False, "list": (), "text": None}
    fixes = tuple(load_fixes().values())
    given = {one.name: unset[one.kind] for fix in fixes for one in fix.options}
    return FixRequest(fixes=fixes, options=given, look=look(cluster, target, image=image))


def confirm(planned: RepairPlan, *, yes: bool, force: bool) -> None:
    """Nothing is written without a yes."""
    if yes or (any(one.drops for one in planned.diffs) and not force):
        return  # what would drop somebody's edits is refused in a moment: nothing to ask
    check_answerable(yes=yes)
    click.confirm("\nwrite this?", abort=True, err=True)


def check_answerable(*, yes: bool) -> None:
    """Raises InputError where a question could not be answered."""
    if not yes and not sys.stdin.isatty():
        raise InputError(
            "this changes what is not the mirror's own, and there is nobody to ask",
            why="standard input is no terminal",
            next_step="look at the plan with --dry-run, then give --yes",
        )


@contextmanager
def tidied(cluster: Cluster, *, undone: bool = False) -> Iterator[None]:
    """The node agent that was started for a look is ended, however the command ends; what it kept
    of a change that was not brought to its end, it keeps as that left it.

    ``undone``: fixes were rolled back. Raises ProofError where a node was not reached for it.
    """
    left: tuple[str, ...] = ()
    try:
        yield
    except MirrorError:
        with suppress(MirrorError):
            reconciler.refresh_agents(cluster)
        raise
    finally:
        with suppress(MirrorError):
            left = apply.remove_idle_agents(cluster, undone=undone)
            for line in left:
                click.echo(f"warning: the node agent could not undo: {line}", err=True)
    if left and undone:
        raise FixProofError(
            "not everything is as it was",
            why="\n".join(left),
            next_step="the node agent stays, and undoes it where it starts again; run mirror "
            "rollback again when these nodes are back",
        )
