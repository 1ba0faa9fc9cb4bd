"""`mirror fix` and `mirror rollback`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from cli import show, show_fixes
from cli.connect import connect
from cli.looking import look
from cli.options import ClusterOptions, OutputFormat, cluster_options, output_option
from deploy import repair
from deploy.changes.model import Option
from deploy.cluster.client import Cluster
from deploy.planned import Plan, Request, chosen, known
from mirror.core.errors import InputError, MirrorError


def _options(function: Any) -> Any:
    """The options that the fixes themselves name."""
    for one in reversed([option for fix in known().values() for option in fix.options]):
        function = _option(one)(function)
    return function


def _option(one: Option) -> Any:
    name = one.name.replace("-", "_")
    if one.kind == "flag":
        return click.option(f"--{one.name}", name, is_flag=True, help=one.help)
    many = one.kind == "list"
    return click.option(f"--{one.name}", name, metavar=one.metavar, help=one.help, multiple=many)


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
@_options
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
    """
    cluster = connect(target)
    fixes = chosen(names)
    if not fixes:
        show_fixes.standing(repair.standing(cluster), output, known())
        return
    options = {name.replace("_", "-"): value for name, value in options.items()}
    _check(options, fixes)
    request = Request(
        fixes=fixes,
        options=options,
        look=look(cluster, target, image=image, names=hosts),
        force=force,
    )
    with _tidied(cluster):
        with show.progress() as progress:
            planned = repair.plan(cluster, request, progress)
        if dry_run:
            show_fixes.plan(planned, output)
            if output == "table":
                click.echo("\nnothing was written")
            return
        if output == "table":
            show_fixes.plan(planned, output)
        if not planned.idle and not planned.stops:
            _confirm(planned, yes=yes, force=force)
        with show.progress() as progress:
            done = repair.carry_out(cluster, request, planned, progress)
        show_fixes.repaired(done, output, undo=f"mirror rollback {' '.join(f.name for f in fixes)}")


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
    with _tidied(cluster):
        planned = repair.plan_rollback(cluster, names)
        if dry_run or output == "table":
            show_fixes.plan(planned, output)
        if dry_run:
            if output == "table":
                click.echo("\nnothing was written")
            return
        if not planned.steps:
            if output == "table":
                click.echo("nothing to undo")
            else:
                show_fixes.repaired(repair.undo(cluster, planned, force=force), output)
            return
        _confirm(planned, yes=yes, force=force)
        with show.progress() as progress:
            done = repair.undo(cluster, planned, progress, force=force)
        show_fixes.repaired(done, output)


@contextmanager
def _tidied(cluster: Cluster) -> Iterator[None]:
    """The node agent that was started for a look is ended, however the command ends."""
    try:
        yield
    finally:
        with suppress(MirrorError):
            for line in repair.tidy(cluster):
                click.echo(f"warning: the node agent could not undo: {line}", err=True)


def _check(options: dict[str, Any], fixes: Any) -> None:
    """An option belongs to a fix that was asked for."""
    mine = {one.name for fix in fixes for one in fix.options}
    for name, value in options.items():
        if value and name not in mine:
            owner = next(f.name for f in known().values() if name in {o.name for o in f.options})
            raise InputError(
                f"--{name} is an option of fix {owner}, which is not asked for",
                next_step=f"mirror fix {owner} --{name} …",
            )


def _confirm(planned: Plan, *, yes: bool, force: bool) -> None:
    if yes or (any(one.drops for one in planned.diffs) and not force):
        return  # what would drop somebody's edits is refused in a moment: nothing to ask
    if not sys.stdin.isatty():
        raise InputError(
            "this changes what is not the mirror's own, and there is nobody to ask",
            why="standard input is no terminal",
            next_step="look at the plan with --dry-run, then give --yes",
        )
    click.confirm("\nwrite this?", abort=True, err=True)
