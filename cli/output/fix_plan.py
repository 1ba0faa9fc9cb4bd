"""How plans, results and states of fixes are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.text import Text

from cli.options import OutputFormat
from cli.output import terminal
from cli.output.node_groups import Group, groups, places
from deploy.changes.model import Fix
from deploy.changes.state import FixState
from deploy.cluster.client import Cluster
from deploy.repair import apply
from deploy.repair.plan import FixDecision, RepairPlan, RepairResult, TargetDiff
from deploy.repair.reconciler import ReconcilerStatus
from deploy.repair.restart import StaleWorkload
from mirror.core.codec import dump
from mirror.core.errors import MirrorError

_MOST = 20  # rows


def plan(planned: RepairPlan) -> None:
    """What would be done, who notices, and the difference."""
    for one in planned.decisions:
        _told(one)
    diffs(planned.diffs)
    if planned.restarted_workload:
        terminal.out.print(
            Text(f"\n{planned.restarted_workload} is restarted: its Corefile has no `reload`.")
        )
    if planned.diffs and planned.is_noop:
        click.echo("\nnothing to write")
    for target in planned.unreachable:
        terminal.out.print(
            Text(f"stays as it is, its node cannot be reached: {target}", style="yellow")
        )
    _running(planned.stale_workloads)


def plan_document(planned: RepairPlan) -> dict[str, object]:
    """The same for programs."""
    return {
        "fixes": [_decided(one) for one in planned.decisions],
        "targets": dump(planned.diffs),
        "restarts": planned.restarted_workload,
        "away": [str(one) for one in planned.unreachable],
        "running": dump(planned.stale_workloads),
        "idle": planned.is_noop,
    }


def not_written(planned: RepairPlan, output: OutputFormat) -> None:
    """The end of a dry run."""
    if output != "table":
        terminal.document(plan_document(planned), output)
    else:
        click.echo("\nnothing was written")


def _decided(one: FixDecision) -> dict[str, object]:
    return {
        "fix": one.fix,
        "blast": one.impact,
        "changes": [{"target": str(c.target), "why": c.why} for c in one.changes],
        "refusal": dump(one.refusal),
    }


def _told(one: FixDecision) -> None:
    terminal.prose(f"{one.fix}: {one.summary}", "", "bold")
    if one.refusal is None:
        terminal.prose(f"touches {one.impact}", "  ")
        return
    terminal.prose(f"– {one.refusal.reason}", "  ", "dim" if one.refusal.needless else "yellow")
    for line in one.refusal.objects:
        terminal.prose(line, "    ", "dim")
    if one.refusal.next_step:
        terminal.prose(f"next: {one.refusal.next_step}", "    ")


def diffs(found: Sequence[TargetDiff]) -> None:
    """Every target with its difference; what is the same on several nodes once."""
    settled = [one.target for one in found if not (one.text or one.kept or one.drops)]
    for one in groups([one for one in found if one.target not in settled]):
        _group(one)
    if settled:
        terminal.out.print(Text("\nas it should be already:", style="dim"))
        for title in places(settled):
            terminal.prose(title, "  ", "dim")


def _group(group: Group) -> None:
    click.echo()
    terminal.prose(group.title, "", "bold")
    for why in group.why:
        terminal.prose(why, "  ")
    if group.kept:
        terminal.prose("somebody edited it since; those edits are kept", "  ", "cyan")
    for drop in group.drops:
        terminal.prose("somebody edited what the fix had changed; --force drops:", "  ", "red")
        for line in drop.splitlines():
            terminal.out.print(Text(f"    {line}", style="red"))
    for line in group.lines:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        terminal.out.print(Text(f"  {line}", style=colour))


def _running(found: Sequence[StaleWorkload]) -> None:
    """Workloads whose pods keep IPv6, those that are restarted first."""
    if not found:
        return
    ordered = sorted(found, key=lambda one: not one.restarts)
    rows = [
        (
            one.title,
            str(len(one.pods)),
            _one_of([address for pod in one.pods for address in pod.addresses]),
            "is restarted" if one.restarts else one.why_not,
        )
        for one in ordered[:_MOST]
    ]
    click.echo("\nrunning pods keep IPv6 until they are made again:")
    terminal.table(("workload", "pods", "IPv6", ""), rows)
    if len(ordered) > _MOST:
        click.echo(f"and {len(ordered) - _MOST} more workloads (-o json has all)")
    if not any(one.restarts or one.why_not for one in found):
        click.echo(
            "mirror fix pod-sysctl --restart SELECTOR|all rolls Deployments, StatefulSets and "
            "DaemonSets"
        )


def _one_of(addresses: list[str]) -> str:
    more = f" and {len(addresses) - 1} more" if addresses[1:] else ""
    return addresses[0] + more if addresses else "link-local only"


def repaired(
    done: RepairResult,
    output: OutputFormat,
    *,
    undo: str = "",
    keeper: ReconcilerStatus | None = None,
) -> None:
    """What was written, and what programs say now."""
    if output != "table":
        terminal.document({**dump(done), "keeper": dump(keeper)}, output)
        return
    click.echo()
    for name in places(done.written):
        terminal.prose(f"written: {name}", "")
    if not done.written:
        click.echo("nothing was written")
    _outcomes(done)
    if done.proved_on:
        click.echo(f"proved by pods on {', '.join(done.proved_on)}")
    for line in done.not_seen:
        click.echo(f"NOT seen: {line}")
    for name in done.restarted:
        click.echo(f"restarted: {name}")
    _running(done.running)
    kept(keeper)
    if done.written and undo:
        click.echo(f"\nundo: {undo}")


def _outcomes(done: RepairResult) -> None:
    """What the same programs said; nodes that saw the same share a line."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for one in done.outcomes:
        program = (
            one.program
            if one.libc in {"own", one.program.split()[0]}
            else (f"{one.program} ({one.libc})")
        )
        lines.setdefault((program, one.name, one.before, one.after), []).append(one.node)
    if lines:
        rows = [(", ".join(nodes), *line) for line, nodes in lines.items()]
        click.echo()
        terminal.table(("node", "program", "asks for", "before", "after"), rows)


def kept(keeper: ReconcilerStatus | None) -> None:
    """The keeper, in a line each."""
    if keeper is not None:
        for name, value in keeper_rows(keeper):
            click.echo(f"{name}: {value}" if name else f"  {value}")


def keeper_rows(keeper: ReconcilerStatus) -> list[tuple[str, str]]:
    """For `mirror status` too."""
    state = "runs" if keeper.running else "does not run"
    rows = [("keeper", f"{state}, keeps {', '.join(places(keeper.keeps))}")]
    if keeper.leaves:
        rows.append(("", f"not kept now: {', '.join(places(keeper.leaves))}"))
    return rows


def standing(found: Sequence[FixState], output: OutputFormat, fixes: Mapping[str, Fix]) -> None:
    """Every fix and how it stands."""
    if output != "table":
        terminal.document(found, output)
        return
    rows = [
        (one.fix, one.state, fixes[one.fix].summary if one.fix in fixes else "", one.at)
        for one in found
    ]
    terminal.table(("fix", "state", "what it does", "written"), rows)
    for one in found:
        for line in state_lines(one):
            click.echo(line)
    click.echo("\nmirror fix NAME --dry-run shows what it would change")


def standing_of(cluster: Cluster) -> tuple[FixState, ...] | str:
    """How the fixes stand, or why that cannot be seen."""
    try:
        return apply.read_fix_states(cluster)
    except MirrorError as broken:
        return str(broken)


def rows(found: tuple[FixState, ...] | str) -> list[tuple[str, str]]:
    """For `mirror status`: a line a fix, and one for each target that is not as it should be."""
    if isinstance(found, str):
        return [("fixes", f"not seen: {found}")]
    told = [("fixes", ", ".join(f"{one.fix} {one.state}" for one in found))]
    return told + [("", line.strip()) for one in found for line in state_lines(one)]


def state_lines(state: FixState) -> list[str]:
    """Targets that are not simply applied, and the command that brings them back."""
    lines = [
        f"  {state.fix}: {one.target} is {one.state}" + (f" ({one.detail})" if one.detail else "")
        for one in state.targets
        if one.state != "applied" or one.detail
    ]
    return [*lines, f"  {state.fix}: next: {state.again}"] if state.again else lines
