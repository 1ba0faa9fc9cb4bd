"""Plans, results and states of fixes as text, or as documents for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.text import Text

from cli.options import OutputFormat
from cli.output import terminal
from cli.output.node_groups import group_diffs, group_targets
from deploy.changes.fix import Fix
from deploy.changes.state import FixState
from deploy.cluster.client import Cluster
from deploy.evidence.agent_image import AgentImage
from deploy.fix_registry import read_fix_states
from deploy.repair.model import FixDecision, RepairPlan, RepairResult, TargetDiff
from deploy.repair.reconciler import ReconcilerStatus
from deploy.repair.restart import StaleWorkload
from mirror.core.codec import dump
from mirror.core.errors import MirrorError

_MAX_ROWS = 20


def print_plan(plan: RepairPlan) -> None:
    """Print what would change, who is affected, and the difference."""
    for decision in plan.decisions:
        _print_decision(decision)
    print_diffs(plan.diffs)
    if plan.restarted_workload:
        line = f"\n{plan.restarted_workload} is restarted: its Corefile has no `reload`."
        terminal.out.print(Text(line))
    if plan.diffs and plan.is_noop:
        click.echo("\nnothing to write")
    _print_unseen(plan)
    if plan.agent_image is not None:
        terminal.prose(f"\nnode agent: {_describe_agent(plan.agent_image)}", "")
    for target in plan.unreachable:
        line = f"not changed, its node cannot be reached: {target}"
        terminal.out.print(Text(line, style="yellow"))
    for failure in plan.failures:
        terminal.prose(f"not changed: {failure}", "", "yellow")
    _print_stale_workloads(plan.stale_workloads)


def _print_unseen(plan: RepairPlan) -> None:
    """Print what a dry run would change on nodes, where it has not looked."""
    if not plan.unseen:
        return
    click.echo("\nNOT observed, because no node agent runs and a dry run starts none:")
    for name in group_targets([str(change.target) for change in plan.unseen]):
        terminal.prose(name, "  ", "cyan")
    terminal.prose(
        "the plan assumes what nodes usually have; without --dry-run they are read before anything "
        "is written",
        "  ",
    )


def _describe_agent(image: AgentImage) -> str:
    return f"a privileged pod on every node, image {image.describe()}, {image.origin}"


def plan_document(plan: RepairPlan) -> dict[str, object]:
    """Return the plan for programs."""
    return {
        "fixes": [_decision_document(decision) for decision in plan.decisions],
        "targets": dump(plan.diffs),
        "restarts": plan.restarted_workload,
        "away": [str(target) for target in plan.unreachable],
        "failures": [str(failure) for failure in plan.failures],
        "running": dump(plan.stale_workloads),
        "unseen": [{"target": str(change.target), "why": change.why} for change in plan.unseen],
        "agent": dump(plan.agent_image),
        "idle": plan.is_noop,
    }


def _decision_document(decision: FixDecision) -> dict[str, object]:
    return {
        "fix": decision.fix,
        "blast": decision.impact,  # the key that scripts read
        "changes": [
            {"target": str(change.target), "why": change.why} for change in decision.changes
        ],
        "refusal": dump(decision.refusal),
    }


def _print_decision(decision: FixDecision) -> None:
    terminal.prose(f"{decision.fix}: {decision.summary}", "", "bold")
    refusal = decision.refusal
    if refusal is None:
        terminal.prose(f"affects {decision.impact}", "  ")
        return
    terminal.prose(f"– {refusal.reason}", "  ", "dim" if refusal.needless else "yellow")
    for line in refusal.objects:
        terminal.prose(line, "    ", "dim")
    if refusal.next_step:
        terminal.prose(f"next: {refusal.next_step}", "    ")


def print_diffs(diffs: Sequence[TargetDiff]) -> None:
    """Print every target with its difference; equal differences of several nodes once."""
    unchanged = [
        diff.target for diff in diffs if not (diff.text or diff.keeps_foreign_edits or diff.drops)
    ]
    for group in group_diffs([diff for diff in diffs if diff.target not in unchanged]):
        _print_group(group)
    if unchanged:
        terminal.out.print(Text("\nalready up to date:", style="dim"))
        for title in group_targets(unchanged):
            terminal.prose(title, "  ", "dim")


def _print_group(group: TargetDiff) -> None:
    click.echo()
    terminal.prose(group.target, "", "bold")
    for why in group.why:
        terminal.prose(why, "  ")
    if group.keeps_foreign_edits:
        terminal.prose("it was edited since; those edits are kept", "  ", "cyan")
    for drop in group.drops:
        terminal.prose("an edit overlaps with the fix; --force discards it:", "  ", "red")
        for line in drop.splitlines():
            terminal.out.print(Text(f"    {line}", style="red"))
    for line in group.text.splitlines():
        color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        terminal.out.print(Text(f"  {line}", style=color))


def _print_stale_workloads(workloads: Sequence[StaleWorkload]) -> None:
    """Print the workloads whose pods keep IPv6, those that are restarted first."""
    if not workloads:
        return
    ordered = sorted(workloads, key=lambda workload: not workload.restarts)
    rows = [
        (
            workload.title,
            str(len(workload.pods)),
            _summarize([address for pod in workload.pods for address in pod.addresses]),
            "is restarted" if workload.restarts else workload.why_not,
        )
        for workload in ordered[:_MAX_ROWS]
    ]
    click.echo("\nrunning pods keep IPv6 until they are recreated:")
    terminal.table(("workload", "pods", "IPv6", ""), rows)
    if len(ordered) > _MAX_ROWS:
        click.echo(f"and {len(ordered) - _MAX_ROWS} more workloads (-o json lists all)")
    if not any(workload.restarts or workload.why_not for workload in workloads):
        click.echo(
            "mirror fix pod-sysctl --restart SELECTOR|all restarts Deployments, StatefulSets and "
            "DaemonSets"
        )


def _summarize(addresses: list[str]) -> str:
    rest = f" and {len(addresses) - 1} more" if addresses[1:] else ""
    return addresses[0] + rest if addresses else "link-local only"


def result_document(
    result: RepairResult, reconciler: ReconcilerStatus | None = None
) -> dict[str, object]:
    """Return the result for programs."""
    return {**dump(result), "keeper": dump(reconciler)}


def print_result(
    result: RepairResult, *, undo: str = "", reconciler: ReconcilerStatus | None = None
) -> None:
    """Print what was written and what the probe programs report now."""
    click.echo()
    for name in group_targets(result.written):
        terminal.prose(f"written: {name}", "")
    if not result.written:
        click.echo("nothing was written")
    _print_outcomes(result)
    if result.proved_on:
        click.echo(f"proved by pods on {', '.join(result.proved_on)}")
    for line in result.not_seen:
        click.echo(f"NOT observed: {line}")
    for name in result.restarted:
        click.echo(f"restarted: {name}")
    _print_stale_workloads(result.stale_workloads)
    if reconciler is not None:
        for name, value in reconciler_rows(reconciler):
            click.echo(f"{name}: {value}" if name else f"  {value}")
    if result.written and undo:
        click.echo(f"\nundo: {undo}")


def _print_outcomes(result: RepairResult) -> None:
    """Print what the same programs reported before and after; equal nodes share a row."""
    nodes: dict[tuple[str, ...], list[str]] = {}
    for outcome in result.outcomes:
        program = outcome.program
        if outcome.libc not in {"own", program.split()[0]}:
            program = f"{program} ({outcome.libc})"
        row = (program, outcome.name, outcome.before, outcome.after)
        nodes.setdefault(row, []).append(outcome.node)
    if nodes:
        rows = [(", ".join(names), *row) for row, names in nodes.items()]
        click.echo()
        terminal.table(("node", "program", "resolves", "before", "after"), rows)


def reconciler_rows(status: ReconcilerStatus) -> list[tuple[str, str]]:
    """Return rows of the reconciler's status, for `mirror status` too."""
    state = "runs" if status.running else "does not run"
    rows = [("reconciler", f"{state}, reapplies {', '.join(group_targets(status.kept))}")]
    if status.not_kept:
        rows.append(("", f"not covered: {', '.join(group_targets(status.not_kept))}"))
    if status.reported:
        rows.append(("", f"only reports: {', '.join(group_targets(status.reported))}"))
    return rows


def print_states(
    states: Sequence[FixState], output: OutputFormat, fixes: Mapping[str, Fix]
) -> None:
    """Print every fix with its state."""
    if output != "table":
        terminal.document(states, output)
        return
    rows = [
        (state.fix, state.state, fixes[state.fix].summary if state.fix in fixes else "", state.at)
        for state in states
    ]
    terminal.table(("fix", "state", "what it does", "written"), rows)
    for state in states:
        for line in _state_lines(state):
            click.echo(line)
    click.echo("\nmirror fix NAME --dry-run shows what it would change")


def try_read_states(cluster: Cluster) -> tuple[FixState, ...] | str:
    """Return the states of the fixes, or why they cannot be read."""
    try:
        return read_fix_states(cluster)
    except MirrorError as error:
        return str(error)


def state_rows(states: tuple[FixState, ...] | str) -> list[tuple[str, str]]:
    """Return rows for `mirror status`: the fixes, then each target that is not applied."""
    if isinstance(states, str):
        return [("fixes", f"not observed: {states}")]
    rows = [("fixes", ", ".join(f"{state.fix} {state.state}" for state in states))]
    return rows + [("", line.strip()) for state in states for line in _state_lines(state)]


def _state_lines(state: FixState) -> list[str]:
    """Return a line for each target that is not simply applied, and the command that repairs it."""
    lines = []
    for target in state.targets:
        if target.state != "applied" or target.detail:
            detail = f" ({target.detail})" if target.detail else ""
            lines.append(f"  {state.fix}: {target.target} is {target.state}{detail}")
    return (
        [*lines, f"  {state.fix}: next: {state.reapply_command}"]
        if state.reapply_command
        else lines
    )
