"""What `mirror fix` and `mirror rollback` are asked, plan, and report. Data, and how it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.changes.model import Change, ConfigMapKey, Fix, Refusal, Target
from deploy.changes.state import FixState
from deploy.changes.update import TargetUpdate, render_diff
from deploy.evidence.collect import CollectOptions
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.registry import load_all_fixes as load_all_fixes
from deploy.registry import load_fixes as load_fixes
from deploy.repair import coredns_reload
from deploy.repair.restart import RestartRequest, StaleWorkload
from mirror.core.errors import InputError, MirrorError


class FixProofError(MirrorError):
    """A fix was written, and what it should bring about did not come."""


def select_fixes(names: Iterable[str]) -> tuple[Fix, ...]:
    """The fixes of these names (`all`: every one). Raises InputError for one there is not."""
    there = load_fixes()
    wanted = list(names)
    for name in wanted:
        if name != "all" and name not in there:
            raise InputError(
                f"no fix {name!r}", why="there is: " + ", ".join(there), next_step="mirror fix"
            )
    return tuple(fix for fix in there.values() if fix.name in wanted or "all" in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRequest:
    """``options`` by name, as they were given. ``look`` says where pods look from, and for what."""

    fixes: tuple[Fix, ...]
    options: Mapping[str, Any]
    look: CollectOptions
    force: bool = False
    restart: RestartRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixDecision:
    """What one fix wants to do here, or why it does nothing."""

    fix: str
    summary: str
    impact: str
    changes: tuple[Change, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDiff:
    """One target, and how it changes; empty text where only the ledger does, or nothing."""

    target: str
    text: str
    why: tuple[str, ...]
    kept: bool = False
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What would be done. ``steps`` are the engine's, ``diffs`` for people.

    ``proved_first`` are targets that wait for a proof of what is written before; ``away`` those
    that stand on nodes which cannot be reached, and stay as they are.
    """

    decisions: tuple[FixDecision, ...]
    diffs: tuple[TargetDiff, ...]
    restarted_workload: str = ""  # the workload that has to be restarted, as KIND/NAME
    stale_workloads: tuple[
        StaleWorkload, ...
    ] = ()  # workloads whose pods keep IPv6 until they are made again
    needs_proof_first: tuple[Target, ...] = ()
    unreachable: tuple[Target, ...] = ()
    evidence: Evidence | None = field(default=None, repr=False)
    coredns: CoreDns | None = field(default=None, repr=False)
    updates: tuple[TargetUpdate, ...] = field(default=(), repr=False)

    @property
    def is_noop(self) -> bool:
        return all(step.is_noop for step in self.updates)

    @property
    def blocking(self) -> tuple[FixDecision, ...]:
        """Fixes that must not be made here (those that are not needed stop nobody)."""
        return tuple(d for d in self.decisions if d.refusal and not d.refusal.needless)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutcome:
    """One program asked for one name from one node, before and after."""

    node: str
    name: str
    program: str
    libc: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult:
    """What was done, how the fixes stand now, and what the programs say."""

    written: tuple[str, ...]
    states: tuple[FixState, ...]
    outcomes: tuple[ProgramOutcome, ...] = ()
    proved_on: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    running: tuple[StaleWorkload, ...] = ()


def build_diff(step: TargetUpdate, wanted: Sequence[Change] = ()) -> TargetDiff:
    """A step for people."""
    return TargetDiff(
        target=str(step.target),
        text=render_diff(step),
        why=tuple(change.why for change in wanted if change.target == step.target),
        kept=step.keeps_foreign_edits,
        drops=tuple(one.theirs for one in step.conflicts),
    )


def select_corefiles(
    core: CoreDns | None, steps: Iterable[TargetUpdate]
) -> dict[ConfigMapKey, bytes]:
    """The texts that CoreDNS loads and that these steps write, as they will be."""
    if core is None:
        return {}
    return {
        step.target: step.after or b""
        for step in steps
        if isinstance(step.target, ConfigMapKey)
        and step.changes_target
        and step.target.namespace == core.namespace
        and step.target.name in {core.name, "coredns-custom"}
    }


def find_restart(core: CoreDns | None, steps: Sequence[TargetUpdate]) -> str:
    """The workload that has to be restarted for these steps, as KIND/NAME, or nothing."""
    texts = select_corefiles(core, steps)
    if core is None or not texts:
        return ""
    main = next((t for k, t in texts.items() if k.key == "Corefile"), core.text.encode())
    # what runs has to have `reload`, not only what will be there
    both = coredns_reload.has_reload(main.decode()) and coredns_reload.has_reload(core.text)
    return "" if both else core.workload
