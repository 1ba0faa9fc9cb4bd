"""Targets, the edits made to them, and the ledger's record of both. Data and two protocols.

A *target* is one thing in the cluster that is not ours. It reads as bytes, or as None if it does
not exist. An *editor* (a fix, or `mirror attach`) computes new bytes for a target and is pure. A
*target driver* reads and writes the targets of one kind. The engine does everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from deploy.cluster.access import Permission
from mirror.snapshot import Snapshot

# -- targets --------------------------------------------------------------------------------------
# The ledger stores the names of these classes and of their fields: they cannot be renamed.


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapKey:
    """One key of a ConfigMap. Its bytes are the value in UTF-8."""

    kind: ClassVar[str] = "ConfigMap"
    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name} key {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """The spec of a Kubernetes object. Its bytes are canonical JSON (mirror.merge.encode_spec)."""

    kind: str  # a key of API_RESOURCES, which decides through which API it is reached
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
    """A kernel setting in a node's own network namespace: net.ipv6.conf.all.disable_ipv6."""

    node: str
    key: str

    def __str__(self) -> str:
        return f"sysctl {self.key} on node {self.node}"


Target: TypeAlias = ConfigMapKey | ObjectSpec | NodeFile | NodeSysctl


def agent_target(target: NodeFile | NodeSysctl) -> str:
    """Return the name of the target in the node agent's protocol: the path or the key."""
    return target.path if isinstance(target, NodeFile) else target.key


# -- reading and writing targets ------------------------------------------------------------------


class TargetDriver(Protocol):
    """Reads and writes the targets of one kind. Nothing else writes what is not ours."""

    def is_reachable(self, target: Target) -> bool:
        """Return whether the target can be read and written now: a node may be down."""

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        """Return all permissions that reading, writing and restoring the target need."""

    def read(self, target: Target) -> Snapshot:
        """Return the target's content now. Raises ClusterError if it cannot be read."""

    def write(
        self,
        target: Target,
        content: bytes | None,
        expected: Snapshot,
        metadata: str = "",
        *,
        force: bool = False,
    ) -> Snapshot:
        """Replace ``expected`` with ``content`` (None removes it) and return what is there then.

        Compare-and-swap: raises WriteConflict, and writes nothing, if the target is not
        ``expected`` any more. ``metadata`` belongs to the base and is used to create the target
        again. Atomic: after a kill the target is either old or new. With ``force``, an object whose
        difference cannot be written in place is deleted and created again; after a kill in between
        it is absent.
        """


# -- edits ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What one editor does to one target: its name and options, so that it can be replayed."""

    fix: str
    options: Mapping[str, Any] = field(default_factory=dict)  # JSON values: the ledger stores them


class CannotEdit(Exception):
    """An editor cannot change this content safely. The text is the reason."""


class Editor(Protocol):
    """Edits targets: a fix, or `mirror attach`. Edits to one target apply by ``order``."""

    @property
    def order(self) -> int: ...

    @property
    def edit(self) -> Callable[[Edit, Target, bytes | None], bytes | None]: ...

    @property
    def widest_edit(self) -> Edit:
        """Return an edit that changes everything that any options of the editor change."""

    @property
    def may_target(self) -> Callable[[Target], bool]:
        """Return whether the editor ever edits a target. No other is written for it."""

    @property
    def may_restore(self) -> Callable[[Target, bytes | None], bool]:
        """Return whether this may have been the content of a target before the edit."""

    @property
    def owns(self) -> Callable[[Target], bool]:
        """Return whether a target is wholly ours: others' edits of it are overwritten."""

    @property
    def stores_inverse(self) -> bool:
        """Whether the difference that an edit made is enough to undo it exactly (see trim.py)."""

    def reapply_command(self, target: Target, edit: Edit) -> str:
        """Return the command that makes this edit again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One target to edit. Changes are written in the given order and undone in reverse.

    ``template`` is a target from which some other program writes this one (calico-node writes a
    node's file): if the fix is in the template already, it may be in the file for that reason.
    ``needs_proof_first`` delays the write until new pods on every node have shown that nothing
    written before harms them.
    """

    target: Target
    edit: Edit
    why: str
    template: Target | None = None
    needs_proof_first: bool = False


# -- the ledger -----------------------------------------------------------------------------------

StateName: TypeAlias = Literal["absent", "applied", "drifted", "partial", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedEdit:
    """An edit in the ledger: change number ``step`` (from 1) of ``steps`` of its fix."""

    edit: Edit
    step: int
    steps: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """Everything known about one target: its base, the edits over it, and what was written.

    ``base`` is the content without our edits; later edits by others that do not touch ours are part
    of it. ``written`` is what the last finished write left, ``intended`` what an unfinished write
    would leave; ``pending`` says whether there is one, and ``undone`` has the edits it removes.
    ``trimmed``: the contents have only what differs between them (trim.py), because the rest of a
    workload may be secret. ``at`` is a UTC time (ISO 8601), ``by`` the user.
    """

    target: Target
    base: bytes | None
    edits: tuple[AppliedEdit, ...]
    written: bytes | None
    intended: bytes | None = None
    pending: bool = False
    metadata: str = ""
    at: str = ""
    by: str = ""
    tool_version: str = ""
    undone: tuple[AppliedEdit, ...] = ()
    trimmed: bool = False

    def has_edit_of(self, fixes: Collection[str]) -> bool:
        """Return whether one of these fixes edits the target."""
        return any(applied.edit.fix in fixes for applied in self.edits)
