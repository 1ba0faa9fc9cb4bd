"""The state of what `mirror fix` and `mirror attach` changed."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings.model import READ, Finding, Remedy, check, warning
from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE

CATEGORY = "fixes"
RANK = 75  # its position in the report


@check("fixes.drift", "no fix has been reverted", READ, Need.FIXES)
def check_drift(evidence: Evidence) -> Iterator[Finding]:
    return _report_fixes(
        evidence,
        "drifted",
        "was applied and has been reverted since",
        "Enabling an add-on again, a refresh or a deployment of the workload overwrites it "
        "silently. `mirror fix --keep` leaves a reconciler in the cluster that applies it again.",
    )


@check("fixes.partial", "every fix is complete", READ, Need.FIXES)
def check_partial(evidence: Evidence) -> Iterator[Finding]:
    why = "The command was killed, or lost its connection."
    yield from _report_fixes(evidence, "partial", "was started and not finished", why)
    for status in require_seen(evidence.fixes):
        if status.fix == "(ledger)":
            yield warning(
                "what is in the ledger is not all obeyed",
                Remedy(
                    "Do what each of them says. All other entries are used.",
                    "cluster",
                    "mirror rollback --dry-run",
                ),
                evidence=(f"{target.target}: {target.detail}" for target in status.targets),
                why="They are damaged, a newer version of mirror made them, or somebody did who "
                "may write ConfigMaps there: no fix explains them.",
            )


@check("fixes.keeper", "the reconciler of the fixes runs, if there is one", READ, Need.RECONCILER)
def check_reconciler(evidence: Evidence) -> Iterator[Finding]:
    reconciler = require_seen(evidence.reconciler)
    if reconciler is None or reconciler.running:
        return
    yield warning(
        "the reconciler of the fixes does not run",
        Remedy(
            "Start it again, with an image that the nodes have.", "cluster", "mirror fix --keep"
        ),
        Remedy("Or remove it; the fixes stay as they are.", "cluster", "mirror fix --no-keep"),
        evidence=(
            f"Deployment {SYSTEM_NAMESPACE}/{RECONCILER_NAME}: "
            + (reconciler.trouble or "none of its pods is Ready"),
        ),
        why="Until it runs, reverted fixes stay reverted in the cluster. The agents go on "
        "reconciling what is on nodes.",
    )


def _report_fixes(evidence: Evidence, state: str, cause: str, why: str) -> Iterator[Finding]:
    """Report the fixes, and rollbacks, in a state; ``cause`` completes a sentence about one."""
    for status in require_seen(evidence.fixes):
        if status.state != state:
            continue
        name = status.fix if status.fix != "(rollback)" else "a rollback"
        yield warning(
            f"{name} {cause}",
            Remedy(
                "Apply it again; the command first looks at the current state.",
                "cluster",
                status.reapply_command,
            ),
            evidence=(
                f"{target.target}: {target.detail or target.state}"
                for target in status.targets
                if target.state in {"drifted", "partial"}
            ),
            why=why,
        )


CHECKS = (check_drift, check_partial, check_reconciler)
