"""`mirror fix`: apply fixes to the cluster."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import Any

import click

from cli import fix_workflow, reconciler_workflow
from cli.collect_options import build_collect_options
from cli.options import (
    ENDPOINT,
    IMAGE,
    ClusterOptions,
    WriteOptions,
    cluster_options,
    write_options,
)
from cli.output import fix_plan, terminal
from deploy.changes.fix import Fix
from deploy.evidence.agent_image import choose_agent_image
from deploy.fix_registry import load_fixes, read_fix_states
from deploy.repair import restart as workload_restart
from deploy.repair.model import FixRequest
from deploy.repair.plan import select_fixes
from mirror.core.errors import InputError


@click.command()
@fix_workflow.fix_names
@cluster_options("7m")
@click.option(
    "--image",
    type=IMAGE,
    metavar="REF",
    help="Image of probe pods, node agents and the reconciler.  [default: what `mirror up` used]",
)
@click.option(
    "--name",
    "hosts",
    multiple=True,
    type=ENDPOINT,
    metavar="HOST[:PORT]",
    help="Name that the proof resolves.  [default: the upstream index]",
)
@fix_workflow.fix_options
@click.option(
    "--restart",
    metavar="SELECTOR|all",
    help="pod-sysctl: restart the workloads (by label) whose running pods keep IPv6.",
)
@click.option(
    "--restart-system",
    is_flag=True,
    help="With --restart: those in kube-system and the mirror's namespace too.",
)
@click.option(
    "--keep/--no-keep",
    "reconcile",
    default=None,
    help="Leave a reconciler in the cluster that reapplies reverted fixes, or remove it.",
)
@write_options
def fix(
    names: tuple[str, ...],
    target: ClusterOptions,
    image: str | None,
    hosts: tuple[str, ...],
    restart: str | None,
    restart_system: bool,
    reconcile: bool | None,
    write: WriteOptions,
    **options: Any,
) -> None:
    """Remove a cause that makes pods fail; `rollback` undoes it.

    Shows the plan first: what changes, who is affected, and the difference. The original is stored
    in kube-system before anything is written; `mirror rollback` restores it byte for byte. Pods on
    every node then prove the effect. Without NAME: list the fixes and their states. `all` applies
    every fix.

    \b
    mirror fix search-domains            a search domain that answers every name
    mirror fix dns --dry-run             no IPv6 addresses for pods: the plan only
    mirror fix dns --keep-aaaa home.example --yes
    mirror fix dns --forward 8.8.8.8 --forward 8.8.4.4 --prefer-udp
    mirror fix pod-sysctl --restart all --dry-run    running pods too
    mirror fix all --keep                reapply what is reverted
    """
    fixes = select_fixes(names)
    options = {name.replace("_", "-"): value for name, value in options.items()}
    fix_workflow.check_options(options, fixes)
    restart_request = _parse_restart(restart, fixes, target, system=restart_system)
    cluster = target.connect()
    if not fixes:
        if reconcile is not None:
            reconciler_workflow.install_or_remove(cluster, image, write, install=reconcile)
        else:
            with terminal.waiting(f"read context {cluster.context} ({cluster.server})"):
                states = read_fix_states(cluster)
            fix_plan.print_states(states, write.output, load_fixes())
        return
    agent_image = choose_agent_image(cluster, image)
    # proofs run from the recorded image too: editors of the mirror's namespace choose its own
    probe_image = agent_image.reference if agent_image else None
    look = build_collect_options(cluster, target, image=probe_image, names=hosts)
    request = FixRequest(
        fixes=fixes,
        options=options,
        look=replace(look, agent_image=agent_image),
        force=write.force,
        dry_run=write.dry_run,
        restart=restart_request,
    )
    undo = f"mirror rollback {' '.join(fix.name for fix in fixes)}"
    document = fix_workflow.run_fixes(
        cluster, request, write, undo=undo, install_reconciler=reconcile
    )
    if write.output != "table":
        terminal.document(document, write.output)
    elif write.dry_run and reconcile:
        click.echo("a reconciler would stay in the cluster: docs/fixes.md lists its rights")


def _parse_restart(
    selector: str | None, fixes: tuple[Fix, ...], target: ClusterOptions, *, system: bool
) -> workload_restart.RestartRequest | None:
    """Return which workloads to restart, or None. Raises InputError for a missing option."""
    if selector is None:
        if system:
            raise InputError(
                "--restart-system needs --restart",
                why="--restart selects the workloads whose pods are restarted",
                next_step="mirror fix pod-sysctl --restart all --restart-system --dry-run",
            )
        return None
    if workload_restart.FIX_NAME not in {fix.name for fix in fixes}:
        raise InputError(
            "--restart belongs to fix pod-sysctl, which was not named",
            why="named: " + (", ".join(fix.name for fix in fixes) or "none"),
            next_step=f"mirror fix pod-sysctl --restart {quote(selector)}",
        )
    if not selector.strip():
        raise InputError(
            "--restart needs a selector",
            why="it selects workloads by their labels",
            next_step="mirror fix pod-sysctl --restart app=backend, or --restart all",
        )
    return workload_restart.RestartRequest(
        selector=selector, system=system, namespace=target.namespace
    )
