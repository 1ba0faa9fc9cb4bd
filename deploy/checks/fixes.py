"""What `mirror fix` and `mirror attach` made, and what has been undone of it since."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.fixes import FixStatus
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE

CATEGORY = "fixes"
RANK = 75  # where it stands in the report

_WHY = (
    "An add-on that is enabled again, a refresh, or whoever deploys a workload writes its own "
    "text over it, and tells nobody. `mirror fix --keep` leaves somebody in the cluster who puts "
    "it back."
)


def check_drift(evidence: Evidence) -> Iterator[Finding]:
    """Fixes that something changed back."""
    for one in require_seen(evidence.fixes):
        if one.state == "drifted":
            yield _finding(one, "fixes.drift", f"{one.fix} was made, and changed back since", _WHY)


def check_partial(evidence: Evidence) -> Iterator[Finding]:
    """Fixes, or rollbacks, that were begun and not finished."""
    for one in require_seen(evidence.fixes):
        if one.state == "partial":
            name = one.fix if one.fix != "(rollback)" else "a rollback"
            cause = f"{name} was begun and not finished"
            yield _finding(one, "fixes.partial", cause, "The command was killed, or cut off.")


def check_reconciler(evidence: Evidence) -> Iterator[Finding]:
    """A keeper that is there and does not run."""
    state = require_seen(evidence.reconciler)
    if state is None or state.running:
        return
    yield Finding(
        check="fixes.keeper",
        severity=Severity.WARNING,
        cause="the keeper of the fixes does not run",
        evidence=(
            f"Deployment {SYSTEM_NAMESPACE}/{RECONCILER_NAME}: "
            f"{state.trouble or 'no pod of it is ready'}",
        ),
        why="What something reverts in the cluster stays reverted meanwhile; the agents of nodes "
        "keep what is on nodes.",
        remedies=(
            Remedy(
                text="Bring it up again, with an image that the nodes have.",
                scope="cluster",
                command="mirror fix --keep",
            ),
            Remedy(
                text="Or end it; the fixes stay as they are.",
                scope="cluster",
                command="mirror fix --no-keep",
            ),
        ),
    )


def _finding(one: FixStatus, check: str, cause: str, why: str) -> Finding:
    return Finding(
        check=check,
        severity=Severity.WARNING,
        cause=cause,
        evidence=tuple(
            f"{part.target}: {part.detail or part.state}"
            for part in one.targets
            if part.state in {"drifted", "partial"}
        ),
        why=why,
        remedies=(
            Remedy(
                text="Make it again; what is there is looked at first.",
                scope="cluster",
                command=one.reapply_command,
            ),
        ),
    )


_FIXES = frozenset({Need.FIXES})

CHECKS = (
    DoctorCheck(
        id="fixes.drift", fact="what was fixed has stayed so", needs=_FIXES, find=check_drift
    ),
    DoctorCheck(
        id="fixes.partial", fact="no fix stands half-way", needs=_FIXES, find=check_partial
    ),
    DoctorCheck(
        id="fixes.keeper",
        fact="a keeper of the fixes runs, where there is one",
        needs=frozenset({Need.RECONCILER}),
        find=check_reconciler,
    ),
)
