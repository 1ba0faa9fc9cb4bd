"""What is changed, by which fix, over which stored copy. Data, and the two seams round it.

A *target* is one thing that is not ours and that reads as bytes, or as None where it is absent.
A *fix* says which targets to change (``changes``) and what becomes of their bytes (``edit``); both
are pure. A *hand* reads and writes the targets of one kind. Everything else is the engine's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from deploy.cluster.access import Permission
from deploy.evidence.model import Evidence, Need
from mirror.probe.model import ExpectedAnswer
from mirror.snapshot import Snapshot

EditOptions: TypeAlias = Mapping[str, Any]  # JSON values by name: they are stored, and replayed


# -- targets --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapKey:
    """One key of a ConfigMap; its bytes are the value in UTF-8."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name} key {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """The spec of an object; its bytes are canonical JSON (targets.canonical)."""

    kind: str  # a key of deploy.cluster.api_resources.KINDS, which says by which API it is reached
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFile:
    """A file on a node, by its path there."""

    node: str
    path: str

    def __str__(self) -> str:
        return f"file {self.path} on node {self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSysctl:
    """A kernel setting of a node's own network, e.g. net.ipv6.conf.all.disable_ipv6."""

    node: str
    key: str

    def __str__(self) -> str:
        return f"sysctl {self.key} on node {self.node}"


Target: TypeAlias = ConfigMapKey | ObjectSpec | NodeFile | NodeSysctl


def agent_target(target: NodeFile | NodeSysctl) -> str:
    """What the node's agent calls it."""
    return target.path if isinstance(target, NodeFile) else target.key


# -- the seam to the world ------------------------------------------------------------------------


class TargetDriver(Protocol):
    """Reads and writes the targets of one kind. Nothing else touches what is not ours."""

    def is_reachable(self, target: Target) -> bool:
        """Whether it can be read and written now: what is on a node goes away with the node."""

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        """All verbs of the Kubernetes API that reading, writing and restoring it need."""

    def read(self, target: Target) -> Snapshot:
        """What stands there now. Raises ClusterError where that cannot be known."""

    def write(
        self, target: Target, content: bytes | None, expected: Snapshot, metadata: str = ""
    ) -> Snapshot:
        """Replace ``seen`` by ``content`` (None removes it) and return what stands there then.

        Compare-and-swap: raises Moved, having written nothing, where the target is not ``seen``
        any more. ``frame`` is that of the base, for making it again. Atomic: after a kill the
        target is the old or the new, never a half.
        """


# -- decisions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What one fix does to one target: a name and options, so that it can be replayed."""

    fix: str
    options: EditOptions = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One target that a fix wants to edit. Written in the order given, undone in reverse.

    ``template`` is a target that somebody else writes this one from (calico-node the file of a
    node): where the fix is in it already, it may have come from there. ``proved_first``: written
    only when new pods on every node have shown that what was written before harms none.
    """

    target: Target
    edit: Edit
    why: str
    template: Target | None = None
    needs_proof_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a fix does nothing here. ``objects`` are what stands in its way.

    ``needless`` tells "there is nothing to mend" from "it must not be done".
    """

    reason: str
    objects: tuple[str, ...] = ()
    next_step: str = ""
    needless: bool = False


class CannotEdit(Exception):
    """Raised by ``edit`` for content it cannot change safely; its text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of a fix on the command line; its value reaches ``changes`` under its name.

    A flag is a bool, a text a str or None, a list a tuple of str.
    """

    name: str
    help: str
    kind: Literal["flag", "text", "list"] = "flag"
    metavar: str = ""


def _expects_nothing(_: tuple[Change, ...], __: Evidence) -> tuple[ExpectedAnswer, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One fix; a module of deploy/fixes/ holds it as FIX.

    ``order`` is its place when several fixes edit one target. ``blast`` says in plain words what
    it touches and who notices. ``cures`` are ids of checks that hold once it works: they are run
    after it was written, and where one does not hold the fix has failed; with ``undo_at_once`` it
    is then rolled back by itself (new pods would break).

    ``changes`` gets the evidence, the options and what this fix has changed already; the same
    evidence gives the same changes. ``edit`` gives the new content of a target, or None to remove
    it; it raises CannotEdit, and is idempotent: edit(edit(x)) == edit(x).
    """

    name: str
    order: int
    summary: str
    impact: str
    needs: frozenset[Need]
    plan_changes: Callable[
        [Evidence, EditOptions, tuple[Change, ...]], tuple[Change, ...] | Refusal
    ]
    edit: Callable[[Edit, Target, bytes | None], bytes | None]
    resolved_checks: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    expected_answers: Callable[[tuple[Change, ...], Evidence], tuple[ExpectedAnswer, ...]] = (
        _expects_nothing
    )
    rollback_on_failure: bool = False
    command: str = "fix"  # that makes it; others than `mirror fix` are not among its names
    reapply_command: Callable[[Target, Edit], str] | None = (
        None  # the words that make it; `mirror fix NAME`
    )


# -- the ledger -----------------------------------------------------------------------------------

StateName: TypeAlias = Literal["absent", "applied", "drifted", "partial", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedEdit:
    """An edit in the ledger: the ``step``-th of ``steps`` changes of its fix (from 1)."""

    edit: Edit
    step: int
    steps: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """All that is known of one target: its base, the edits over it, and what was written.

    ``base`` are the bytes as they were before us (somebody's later edits that did not touch ours
    are in it), ``written`` what the last finished write left there, ``intended`` what a write that
    was begun and not finished would have left; ``pending`` tells whether there is one. ``at`` is
    UTC (ISO 8601), ``by`` who asked for it.
    """

    target: Target
    base: bytes | None
    edits: tuple[AppliedEdit, ...]
    written: bytes | None
    intended: bytes | None = None
    pending: bool = False
    frame: str = ""
    at: str = ""
    by: str = ""
    tool_version: str = ""


def digest(content: bytes | None) -> str:
    """SHA-256 in hex, or `absent`."""
    return "absent" if content is None else hashlib.sha256(content).hexdigest()
