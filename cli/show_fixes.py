"""How plans, results and states of fixes are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.text import Text

from cli import show
from cli.options import OutputFormat
from deploy import repair
from deploy.changes.model import Fix
from deploy.changes.states import FixState
from deploy.cluster.client import Cluster
from deploy.planned import Decided, Diff, Plan, Repaired
from mirror.core.errors import MirrorError

_COLOURS = {"absent": "dim", "applied": "green", "drifted": "red", "partial": "yellow"}


def plan(planned: Plan, output: OutputFormat) -> None:
    """What would be done, who notices, and the difference."""
    if output != "table":
        told = {
            "fixes": [_decided(one) for one in planned.decided],
            "targets": show.plain(planned.diffs),
            "restarts": planned.restarts,
            "idle": planned.idle,
        }
        show.document(told, output)
        return
    for one in planned.decided:
        _told(one)
    diffs(planned.diffs)
    if planned.restarts:
        show.out.print(Text(f"\n{planned.restarts} is restarted: its Corefile has no `reload`."))
    if planned.diffs and planned.idle:
        click.echo("it is so already: nothing to write")


def _decided(one: Decided) -> dict[str, object]:
    return {
        "fix": one.fix,
        "blast": one.blast,
        "changes": [{"target": str(c.target), "why": c.why} for c in one.changes],
        "refusal": show.plain(one.refusal),
    }


def _told(one: Decided) -> None:
    show.out.print(Text(f"{one.fix}: {one.fact}", style="bold"))
    if one.refusal is None:
        show.out.print(Text(f"  touches {one.blast}"))
        return
    colour = "dim" if one.refusal.needless else "yellow"
    show.out.print(Text(f"  – {one.refusal.reason}", style=colour))
    for line in one.refusal.objects:
        show.out.print(Text(f"    {line}", style="dim"))
    if one.refusal.next_step:
        show.out.print(Text(f"    next: {one.refusal.next_step}"))


def diffs(found: Sequence[Diff]) -> None:
    """Every target with its difference."""
    for one in found:
        _diff(one)


def _diff(diff: Diff) -> None:
    show.out.print(Text(f"\n{diff.target}", style="bold"))
    for why in diff.why:
        show.out.print(Text(f"  {why}"))
    if diff.kept:
        show.out.print(Text("  somebody edited it since; those edits are kept", style="cyan"))
    for drop in diff.drops:
        show.out.print(Text("  somebody edited what the fix had changed; --force drops:", "red"))
        for line in drop.splitlines():
            show.out.print(Text(f"    {line}", style="red"))
    for line in diff.text.splitlines():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        show.out.print(Text(f"  {line}", style=colour))


def repaired(done: Repaired, output: OutputFormat, *, undo: str = "") -> None:
    """What was written, and what programs say now."""
    if output != "table":
        show.document(done, output)
        return
    click.echo()
    for name in done.written:
        click.echo(f"written: {name}")
    if not done.written:
        click.echo("nothing was written")
    _outcomes(done)
    if done.proved_on:
        click.echo(f"proved by pods on {', '.join(done.proved_on)}")
    for line in done.not_seen:
        click.echo(f"NOT seen: {line}")
    if done.written and undo:
        click.echo(f"\nundo: {undo}")


def _outcomes(done: Repaired) -> None:
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
        show.table(("node", "program", "asks for", "before", "after"), rows)


def standing(found: Sequence[FixState], output: OutputFormat, fixes: Mapping[str, Fix]) -> None:
    """Every fix and how it stands."""
    if output != "table":
        show.document(found, output)
        return
    rows = [
        (one.fix, one.state, fixes[one.fix].fact if one.fix in fixes else "", one.at)
        for one in found
    ]
    show.table(("fix", "state", "what it does", "written"), rows)
    for one in found:
        for line in state_lines(one):
            click.echo(line)
    click.echo("\nmirror fix NAME --dry-run shows what it would change")


def standing_of(cluster: Cluster) -> tuple[FixState, ...] | str:
    """How the fixes stand, or why that cannot be seen."""
    try:
        return repair.standing(cluster)
    except MirrorError as broken:
        return str(broken)


def rows(found: tuple[FixState, ...] | str) -> list[tuple[str, str]]:
    """For `mirror status`: a line a fix, and one for each target that is not as it should be."""
    if isinstance(found, str):
        return [("fixes", f"not seen: {found}")]
    told = [("fixes", ", ".join(f"{one.fix} {one.state}" for one in found))]
    return told + [("", line.strip()) for one in found for line in state_lines(one)]


def state_lines(state: FixState) -> list[str]:
    """Targets that are not simply applied."""
    return [
        f"  {state.fix}: {one.target} is {one.state}" + (f" ({one.detail})" if one.detail else "")
        for one in state.targets
        if one.state != "applied" or one.detail
    ]
