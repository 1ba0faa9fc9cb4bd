"""`mirror attach` and `mirror detach`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from cli.connect import connect
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from cli.output import fix_plan, terminal
from deploy.repair import attach as verb
from mirror.core.errors import InputError


def _which(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose workloads."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Show the difference; write nothing."),
        click.option("--force", is_flag=True, help="Drop somebody's later edits there."),
        click.option("-l", "--selector", default="", metavar="LABELS", help="All that have these."),
        click.option("-n", "--namespace", "where", metavar="NS", help="Of the workloads."),
        click.argument("names", nargs=-1, metavar="[KIND/NAME]..."),
    ):
        function = option(function)
    return function


@click.command()
@cluster_options(default_timeout=60, mirror_flags=("--mirror-namespace",))
@click.option("--ndots", is_flag=True, help="Also set dnsConfig ndots 1.")
@click.option("--no-index", is_flag=True, help="Only --ndots; needs no mirror.")
@_which
@output_option
def attach(
    target: ClusterOptions,
    names: tuple[str, ...],
    where: str | None,
    selector: str,
    ndots: bool,
    no_index: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Let workloads use the mirror: its environment in every container, by envFrom.

    With --ndots their pods also try names as they are before the search domains: the mend for
    `Name has no usable address` that touches nobody else. Their pods are replaced. `mirror detach`
    puts their specs back exactly.

    \b
    mirror attach deployment/backend -n chronicle
    mirror attach -n chronicle                        every workload there
    mirror attach -l app=speech -n chronicle --ndots
    mirror attach sts/worker -n chronicle --ndots --no-index
    """
    cluster = connect(target)
    wish = _wish(target, names, where, selector, index=not no_index, ndots=ndots, force=force)
    planned = verb.plan_attach(cluster, wish)
    if not _agreed(planned, output, dry_run=dry_run, yes=yes, force=force):
        return
    with terminal.progress() as progress:
        written = verb.attach(cluster, wish, planned, progress)
    _tell(planned, written, output, undo="mirror detach")


@click.command()
@cluster_options(default_timeout=60, mirror_flags=("--mirror-namespace",))
@_which
@output_option
def detach(
    target: ClusterOptions,
    names: tuple[str, ...],
    where: str | None,
    selector: str,
    force: bool,
    dry_run: bool,
    yes: bool,
    output: OutputFormat,
) -> None:
    """Put workloads back as they were before `mirror attach`.

    Edits that somebody made since are kept where they do not touch what attach changed.

    \b
    mirror detach deployment/backend -n chronicle
    mirror detach -n chronicle                        every workload that was attached there
    """
    cluster = connect(target)
    planned = verb.plan_detach(cluster, _wish(target, names, where, selector, force=force))
    if not _agreed(planned, output, dry_run=dry_run, yes=yes, force=force):
        return
    with terminal.progress() as progress:
        written = verb.detach(cluster, planned, progress, force=force)
    _tell(planned, written, output)


def _wish(
    target: ClusterOptions,
    names: tuple[str, ...],
    where: str | None,
    selector: str,
    **more: bool,
) -> verb.AttachRequest:
    if not names and not selector and not where:
        raise InputError(
            "which workloads? none is named",
            next_step="give KIND/NAME, or --selector, or --namespace for all that are in it",
        )
    if names and selector:
        raise InputError("KIND/NAME and --selector together", next_step="give one of them")
    return verb.AttachRequest(
        names=names,
        namespace=where or "default",
        selector=selector,
        mirror_namespace=target.namespace,
        **more,
    )


def _agreed(
    planned: verb.AttachPlan, output: OutputFormat, *, dry_run: bool, yes: bool, force: bool
) -> bool:
    """Show the plan; whether to go on."""
    if dry_run and output != "table":
        told = {"workloads": planned.workloads, "targets": planned.diffs, "notes": planned.notes}
        terminal.document(told, output)
        return False
    if output == "table":
        fix_plan.diffs(planned.diffs)
        for note in planned.notes:
            click.echo(f"note: {note}")
        if dry_run:
            click.echo("\nnothing was written")
            return False
    drops = any(one.drops for one in planned.diffs)
    if yes or planned.is_noop or (drops and not force):
        return True
    if not sys.stdin.isatty():
        raise InputError(
            "this changes workloads, and there is nobody to ask",
            why="standard input is no terminal",
            next_step="look at the plan with --dry-run, then give --yes",
        )
    click.confirm(f"\n{planned.impact}\nwrite this?", abort=True, err=True)
    return True


def _tell(
    planned: verb.AttachPlan, written: tuple[str, ...], output: OutputFormat, undo: str = ""
) -> None:
    if output != "table":
        terminal.document({"written": written, "notes": planned.notes}, output)
        return
    for name in written:
        click.echo(f"written: {name}")
    if not written:
        click.echo("nothing to write" if planned.workloads or undo else "nothing is attached there")
    elif undo:
        click.echo(f"\nundo: {undo} with the same names")
