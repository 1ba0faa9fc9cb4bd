"""What `mirror fix` and `mirror rollback` are asked, plan, and report. Data, and how it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy import taken_up
from deploy.changes.model import Change, ConfigMapKey, Fix, Refusal, Target
from deploy.changes.states import FixState
from deploy.changes.step import Step, difference
from deploy.evidence.collect import Look
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.running import Older, Restart
from deploy.standing import every as every
from deploy.standing import known as known
from mirror.core.errors import InputError, MirrorError


class ProofError(MirrorError):
    """A fix was written, and what it should bring about did not come."""


def chosen(names: Iterable[str]) -> tuple[Fix, ...]:
    """The fixes of these names (`all`: every one). Raises InputError for one there is not."""
    there = known()
    wanted = list(names)
    for name in wanted:
        if name != "all" and name not in there:
            raise InputError(
                f"no fix {name!r}", why="there is: " + ", ".join(there), next_step="mirror fix"
            )
    return tuple(fix for fix in there.values() if fix.name in wanted or "all" in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``options`` by name, as they were given. ``look`` says where pods look from, and for what."""

    fixes: tuple[Fix, ...]
    options: Mapping[str, Any]
    look: Look
    force: bool = False
    restart: Restart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What one fix wants to do here, or why it does nothing."""

    fix: str
    fact: str
    blast: str
    changes: tuple[Change, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """One target, and how it changes; empty text where only the ledger does, or nothing."""

    target: str
    text: str
    why: tuple[str, ...]
    kept: bool = False
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done. ``steps`` are the engine's, ``diffs`` for people.

    ``proved_first`` are targets that wait for a proof of what is written before; ``away`` those
    that stand on nodes which cannot be reached, and stay as they are.
    """

    decided: tuple[Decided, ...]
    diffs: tuple[Diff, ...]
    restarts: str = ""  # the workload that has to be restarted, as KIND/NAME
    running: tuple[Older, ...] = ()  # workloads whose pods keep IPv6 until they are made again
    proved_first: tuple[Target, ...] = ()
    away: tuple[Target, ...] = ()
    evidence: Evidence | None = field(default=None, repr=False)
    core: CoreDns | None = field(default=None, repr=False)
    steps: tuple[Step, ...] = field(default=(), repr=False)

    @property
    def idle(self) -> bool:
        return all(step.idle for step in self.steps)

    @property
    def stops(self) -> tuple[Decided, ...]:
        """Fixes that must not be made here (those that are not needed stop nobody)."""
        return tuple(d for d in self.decided if d.refusal and not d.refusal.needless)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One program asked for one name from one node, before and after."""

    node: str
    name: str
    program: str
    libc: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was done, how the fixes stand now, and what the programs say."""

    written: tuple[str, ...]
    states: tuple[FixState, ...]
    outcomes: tuple[Outcome, ...] = ()
    proved_on: tuple[str, ...] = ()
    not_seen: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    running: tuple[Older, ...] = ()


def diff(step: Step, wanted: Sequence[Change] = ()) -> Diff:
    """A step for people."""
    return Diff(
        target=str(step.target),
        text=difference(step),
        why=tuple(change.why for change in wanted if change.target == step.target),
        kept=step.kept,
        drops=tuple(one.theirs for one in step.conflicts),
    )


def corefiles(core: CoreDns | None, steps: Iterable[Step]) -> dict[ConfigMapKey, bytes]:
    """The texts that CoreDNS loads and that these steps write, as they will be."""
    if core is None:
        return {}
    return {
        step.target: step.after or b""
        for step in steps
        if isinstance(step.target, ConfigMapKey)
        and step.writes
        and step.target.namespace == core.namespace
        and step.target.name in {core.name, "coredns-custom"}
    }


def restarts(core: CoreDns | None, steps: Sequence[Step]) -> str:
    """The workload that has to be restarted for these steps, as KIND/NAME, or nothing."""
    texts = corefiles(core, steps)
    if core is None or not texts:
        return ""
    main = next((t for k, t in texts.items() if k.key == "Corefile"), core.text.encode())
    # what runs has to have `reload`, not only what will be there
    both = taken_up.reloads(main.decode()) and taken_up.reloads(core.text)
    return "" if both else core.workload
