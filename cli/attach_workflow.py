"""Code that `mirror attach` and `detach` share: choosing workloads, confirming, printing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli.options import NAMESPACE, WriteOptions
from cli.output import fix_plan, terminal
from deploy.repair.attach import AttachPlan, AttachRequest, check_request
from mirror.core.errors import InputError


def workload_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments and options that choose workloads."""
    for option in (
        click.option(
            "-l", "--selector", default="", metavar="LABELS", help="Workloads with these labels."
        ),
        click.option(
            "-n",
            "--namespace",
            "workload_namespace",
            type=NAMESPACE,
            metavar="NS",
            help="Their namespace.",
        ),
        click.argument("names", nargs=-1, metavar="[KIND/NAME]..."),
    ):
        function = option(function)
    return function


def build_request(
    mirror_namespace: str,
    names: tuple[str, ...],
    workload_namespace: str | None,
    selector: str,
    **flags: bool,
) -> AttachRequest:
    """Return the workloads to change. Raises InputError for none, or two ways of naming them."""
    if not names and not selector and not workload_namespace:
        raise InputError(
            "no workload was named",
            why="give KIND/NAME, or --selector, or --namespace for all in it",
            next_step="kubectl get deployments,statefulsets,daemonsets,cronjobs -A lists them",
        )
    if names and selector:
        raise InputError(
            "KIND/NAME and --selector cannot be combined",
            why="both say which workloads are meant",
            next_step="give only one of them",
        )
    request = AttachRequest(
        names=names,
        namespace=workload_namespace or "default",
        selector=selector,
        mirror_namespace=mirror_namespace,
        **flags,
    )
    check_request(request)
    return request


def show_and_confirm(plan: AttachPlan, write: WriteOptions) -> bool:
    """Print the plan and ask; returns whether to write it."""
    if write.dry_run and write.output != "table":
        document = {
            "workloads": plan.workloads,
            "targets": plan.diffs,
            "notes": plan.notes,
            "patches": plan.patches,
        }
        terminal.document(document, write.output)
        return False
    if write.output == "table":
        fix_plan.print_diffs(plan.diffs)
        for note in plan.notes:
            click.echo(f"note: {note}")
        _print_patches(plan)
        if write.dry_run:
            click.echo("\nnothing was written")
            return False
    drops = any(diff.drops for diff in plan.diffs)
    if write.yes or plan.is_noop or (drops and not write.force):
        return True
    write.check_can_ask("this changes workloads")
    click.confirm(f"\n{plan.impact}\nwrite this?", abort=True, err=True)
    return True


def _print_patches(plan: AttachPlan) -> None:
    """Print what has to be committed where a tool would revert what is written here."""
    if plan.patches:
        names = ", ".join(patch.workload for patch in plan.patches)
        click.echo(f"\nnot written, because a tool would put its own version back: {names}")
        click.echo("Commit this instead, for example as a patch of kustomize, or use --force:\n")
        terminal.yaml_documents([patch.patch for patch in plan.patches])


def print_result(
    plan: AttachPlan, written: tuple[str, ...], write: WriteOptions, undo: str = ""
) -> None:
    """Print which workloads were written; ``undo`` is the command that reverts them."""
    if write.output != "table":
        document = {"written": written, "notes": plan.notes, "patches": plan.patches}
        terminal.document(document, write.output)
        return
    for name in written:
        click.echo(f"written: {name}")
    if not written:
        click.echo("nothing to write" if plan.workloads or undo else "nothing is attached there")
    elif undo:
        click.echo(f"\nundo: {undo} with the same names")
