"""What a fix is: the contract between deploy/fixes and the commands that run them. Data only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from deploy.changes.model import Change, Edit, Target
from deploy.evidence.model import Evidence, Need
from mirror.probe.model import ExpectedAnswer

FixOptions: TypeAlias = Mapping[str, Any]  # values by the name of the option


@dataclass(frozen=True, slots=True, kw_only=True)
class FixOption:
    """An option of a fix on the command line.

    ``plan_changes`` gets its value under ``name``: a bool for a flag, str or None for a text, a
    tuple of str for a list.
    """

    name: str
    help: str
    kind: Literal["flag", "text", "list"] = "flag"
    metavar: str = ""
    check: Callable[[str], object] = str  # raises InputError for a value that no cluster can take


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a fix changes nothing in this cluster. ``objects`` lists the reasons one by one.

    ``needless`` means that there is nothing to fix; otherwise the fix would do harm.
    """

    reason: str
    objects: tuple[str, ...] = ()
    next_step: str = ""
    needless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One fix. A module of deploy/fixes defines it as ``FIX``.

    ``order`` is its position when several fixes edit the same target. ``summary`` states what is
    true once the fix is applied, ``impact`` what it touches and who notices. ``resolved_checks``
    are ids of doctor checks that must pass afterwards; they run after the fix was written, and if
    one fails the fix has failed. With ``rollback_on_failure`` the affected nodes, or all of it,
    are then rolled back at once, because new pods would not start.

    ``plan_changes`` takes the evidence, the options and the changes this fix has made already; it
    returns the same changes for the same evidence. ``edit`` returns the new content of a target,
    or None to remove the target. It raises CannotEdit and is idempotent: edit(edit(x)) == edit(x).

    ``may_target`` and ``may_restore`` limit what a rollback may write, whatever the ledger says:
    the targets that the fix ever changes, and what may have been there before.
    ``widest_options`` are those of an edit that changes everything that any options change.
    ``owns`` is true for targets that only the fix writes: they have no original and no edits of
    others. Drift is overwritten, and a rollback removes them.
    """

    name: str
    order: int
    summary: str
    impact: str
    needs: frozenset[Need]
    plan_changes: Callable[[Evidence, FixOptions, tuple[Change, ...]], tuple[Change, ...] | Refusal]
    edit: Callable[[Edit, Target, bytes | None], bytes | None]
    resolved_checks: tuple[str, ...] = ()
    options: tuple[FixOption, ...] = ()
    expected_answers: Callable[[tuple[Change, ...], Evidence], tuple[ExpectedAnswer, ...]] = (
        lambda _changes, _evidence: ()
    )
    rollback_on_failure: bool = False
    may_target: Callable[[Target], bool] = lambda _target: True
    may_restore: Callable[[Target, bytes | None], bool] = lambda _target, _content: True
    owns: Callable[[Target], bool] = lambda _target: False
    widest_options: Mapping[str, Any] = field(default_factory=dict)
    stores_inverse: ClassVar[bool] = False

    @property
    def widest_edit(self) -> Edit:
        return Edit(fix=self.name, options=self.widest_options)

    def reapply_command(self, target: Target, edit: Edit) -> str:  # noqa: ARG002 - one for all
        """Return the command that makes an edit of this fix again."""
        return f"mirror fix {self.name}"
