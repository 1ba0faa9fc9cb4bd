"""What `mirror fix` and `mirror rollback` are asked to do, plan, and report. Data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.changes.fix import Fix, Refusal
from deploy.changes.model import Change, Target
from deploy.changes.state import FixState
from deploy.changes.update import TargetFailure, TargetUpdate
from deploy.evidence.agent_image import AgentImage
from deploy.evidence.collect import CollectOptions
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.repair.restart import RestartRequest, StaleWorkload
from mirror.core.codec import json_key
from mirror.core.errors import MirrorError


class FixProofError(MirrorError):
    """A fix was written, but did not have the expected effect."""


def raise_failures(what: str, failures: Sequence[TargetFailure], command: str) -> None:
    """Raise FixProofError if some targets stayed as they were; everything else is done."""
    if not failures:
        return
    raise FixProofError(
        f"{what}, but not on {len(failures)} of its targets",
        why="\n".join(_describe_failure(failure) for failure in failures),
        next_step=f"do what is said for each of them; then run {command} again",
    )


def _describe_failure(failure: TargetFailure) -> str:
    step = failure.error.next_step
    return f"{failure}" + (f"\n    next: {step}" if step else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRequest:
    """The fixes to apply, with their options by name. ``look`` says how evidence is collected."""

    fixes: tuple[Fix, ...]
    options: Mapping[str, Any]
    look: CollectOptions
    force: bool = False
    dry_run: bool = False
    restart: RestartRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixDecision:
    """What one fix would change in this cluster, or why it changes nothing."""

    fix: str
    summary: str
    impact: str
    changes: tuple[Change, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDiff:
    """The difference in one target; ``text`` is empty if only its ledger entry changes, or nothing.

    ``keeps_foreign_edits`` is true if later edits by others are kept; ``drops`` lists those that
    would be lost.
    """

    target: str
    text: str
    why: tuple[str, ...]
    keeps_foreign_edits: bool = field(default=False, metadata=json_key("kept"))
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What would be written: ``updates`` for the engine, ``diffs`` for people.

    ``needs_proof_first`` are targets that wait for a proof of everything written before them.
    ``unreachable`` are targets on nodes that cannot be reached, ``failures`` those that cannot be
    read or changed and ConfigMaps of the ledger that are not obeyed: they stay as they are.
    ``unseen`` are changes of nodes that a dry run does not look at, because no agent runs.
    ``agent_image`` is what a privileged pod on every node runs; None if nothing there is needed.
    """

    decisions: tuple[FixDecision, ...]
    diffs: tuple[TargetDiff, ...]
    restarted_workload: str = ""  # as KIND/NAME
    stale_workloads: tuple[StaleWorkload, ...] = ()  # their pods keep IPv6 until restarted
    needs_proof_first: tuple[Target, ...] = ()
    unreachable: tuple[Target, ...] = ()
    failures: tuple[TargetFailure, ...] = ()
    unseen: tuple[Change, ...] = ()
    agent_image: AgentImage | None = None
    evidence: Evidence | None = field(default=None, repr=False)
    coredns: CoreDns | None = field(default=None, repr=False)
    updates: tuple[TargetUpdate, ...] = field(default=(), repr=False)

    @property
    def is_noop(self) -> bool:
        return not self.unseen and all(update.is_noop for update in self.updates)

    @property
    def blocking(self) -> tuple[FixDecision, ...]:
        """The fixes that must not be applied here. A fix that is not needed does not block."""
        return tuple(d for d in self.decisions if d.refusal and not d.refusal.needless)


@dataclass(frozen=True, slots=True)
class ProgramOutcome:
    """How a program on a node resolved a name before and after the fix."""

    node: str
    name: str
    program: str
    libc: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult:
    """The targets that were written, the state of the fixes, and what programs get now."""

    written: tuple[str, ...]
    states: tuple[FixState, ...]
    outcomes: tuple[ProgramOutcome, ...] = ()
    proved_on: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    stale_workloads: tuple[StaleWorkload, ...] = field(default=(), metadata=json_key("running"))
