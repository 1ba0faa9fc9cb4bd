"""The state of what `mirror fix` and `mirror attach` changed."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.fixes import FixStatus
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE

CATEGORY = "fixes"
RANK = 75  # its position in the report


def check_drift(evidence: Evidence) -> Iterator[Finding]:
    """Find fixes that something has reverted."""
    for status in require_seen(evidence.fixes):
        if status.state == "drifted":
            yield _report(
                status,
                f"{status.fix} was made, and changed back since",
                "Enabling an add-on again, a refresh or a deployment of the workload overwrites "
                "it silently. `mirror fix --keep` leaves a reconciler in the cluster that applies "
                "it again.",
            )


def check_partial(evidence: Evidence) -> Iterator[Finding]:
    """Find fixes and rollbacks that were started and not finished."""
    for status in require_seen(evidence.fixes):
        if status.state == "partial":
            name = status.fix if status.fix != "(rollback)" else "a rollback"
            yield _report(
                status,
                f"{name} was begun and not finished",
                "The command was killed, or lost its connection.",
            )


def check_reconciler(evidence: Evidence) -> Iterator[Finding]:
    """Find a reconciler that exists but does not run."""
    reconciler = require_seen(evidence.reconciler)
    if reconciler is None or reconciler.running:
        return
    yield Finding(
        severity=Severity.WARNING,
        cause="the keeper of the fixes does not run",
        evidence=(
            f"Deployment {SYSTEM_NAMESPACE}/{RECONCILER_NAME}: "
            + (reconciler.trouble or "none of its pods is Ready"),
        ),
        why="Until it runs, reverted fixes stay reverted in the cluster. The agents go on "
        "reconciling what is on nodes.",
        remedies=(
            Remedy(
                text="Start it again, with an image that the nodes have.",
                scope="cluster",
                command="mirror fix --keep",
            ),
            Remedy(
                text="Or remove it; the fixes stay as they are.",
                scope="cluster",
                command="mirror fix --no-keep",
            ),
        ),
    )


def _report(status: FixStatus, cause: str, why: str) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        cause=cause,
        evidence=tuple(
            f"{target.target}: {target.detail or target.state}"
            for target in status.targets
            if target.state in {"drifted", "partial"}
        ),
        why=why,
        remedies=(
            Remedy(
                text="Apply it again; the command first looks at the current state.",
                scope="cluster",
                command=status.reapply_command,
            ),
        ),
    )


_FIXES = frozenset({Need.FIXES})

CHECKS = (
    DoctorCheck(id="fixes.drift", fact="no fix has been reverted", needs=_FIXES, find=check_drift),
    DoctorCheck(id="fixes.partial", fact="every fix is complete", needs=_FIXES, find=check_partial),
    DoctorCheck(
        id="fixes.keeper",
        fact="the reconciler of the fixes runs, if there is one",
        needs=frozenset({Need.RECONCILER}),
        find=check_reconciler,
    ),
)
