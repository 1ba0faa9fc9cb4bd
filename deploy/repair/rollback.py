"""Nodes that go back alone, and nodes that cannot: the others stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from deploy.changes.engine import ChangeEngine
from deploy.changes.model import Fix, NodeFile, NodeSysctl, Target
from deploy.cluster.client import Cluster
from deploy.evidence.nodes import read_nodes
from deploy.repair.plan import FixProofError
from mirror.core.progress import Progress


def roll_back_nodes(
    works: ChangeEngine,
    fixes: Sequence[Fix],
    nodes: Collection[str],
    why: Iterable[str],
    progress: Progress,
) -> FixProofError:
    """Put these nodes back at once. The others keep the fix, which is partial then."""
    names = [fix.name for fix in fixes if fix.rollback_on_failure]
    theirs = [
        entry.target
        for entry in works.entries()
        if isinstance(entry.target, NodeFile | NodeSysctl) and entry.target.node in nodes
    ]
    for step in works.plan_rollback(names, theirs):
        progress.step(f"put back {step.target}: new pods there do not work")
        works.apply(step)
    said = " ".join(names)
    return FixProofError(
        f"fix {said} is partial: {', '.join(sorted(nodes))} was put back as it was",
        why="\n".join(why),
        next_step=f"mend that node, before calico-node starts there again and writes the fix anew; "
        f"then run this again, or mirror rollback {said}",
    )


def report_unreachable(
    cluster: Cluster, works: ChangeEngine, away: Sequence[Target], *, force: bool
) -> None:
    """Nodes that went away: those that are gone are forgotten by force, others come back."""
    there = {node.name for node in read_nodes(cluster)}
    gone = [one for one in away if _node(one) not in there]
    if force:
        with works.hold_lease():
            works.forget(gone)
    left = sorted({_node(one) for one in away if not force or one not in gone})
    if left:
        raise FixProofError(
            f"not rolled back on {', '.join(left)}: no agent runs there",
            why="all else is as it was; what these nodes had stays stored:\n"
            + "\n".join(str(one) for one in away if _node(one) in left),
            next_step="run mirror rollback again when they are back"
            + ("; --force forgets those that are gone for ever" if gone and not force else ""),
        )


def _node(target: Target) -> str:
    assert isinstance(target, NodeFile | NodeSysctl)
    return target.node
