"""The API server, and what this user may see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.access import AccessReview
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity

CATEGORY = "api"
RANK = 10  # its position in the report

_MIN_MINOR_VERSION = 27  # server-side apply and Pod Security work as this program expects
_MAX_SECONDS = 3.0


def check_version(evidence: Evidence) -> Iterator[Finding]:
    """Find a Kubernetes version that is too old."""
    version = require_seen(evidence.access).version
    match = re.match(r"v?1\.(\d+)", version)
    if match and int(match[1]) < _MIN_MINOR_VERSION:
        channel = f"1.{_MIN_MINOR_VERSION + 5}/stable"
        yield Finding(
            severity=Severity.WARNING,
            cause=f"Kubernetes {version} is older than what this program was made for",
            evidence=(f"the oldest supported version is v1.{_MIN_MINOR_VERSION}",),
            why="Server-side apply and Pod Security behave differently in this version.",
            remedies=(
                Remedy(
                    text="Upgrade the cluster, one minor version at a time.",
                    scope="cluster",
                    command=f"sudo snap refresh microk8s --channel={channel}"
                    if remedies.is_microk8s(evidence)
                    else "",
                ),
            ),
        )


def check_response_time(evidence: Evidence) -> Iterator[Finding]:
    """Find an API server that answers slowly."""
    seconds = require_seen(evidence.access).seconds
    if seconds > _MAX_SECONDS:
        yield Finding(
            severity=Severity.WARNING,
            cause=f"the API server took {seconds:.1f} s for its version",
            evidence=(f"context {evidence.context}, {evidence.server}",),
            why="Its datastore is slow (a busy disk), or the connection to it is. Everything that "
            "watches the cluster lags behind, including DNS.",
            remedies=(
                Remedy(
                    text="Ask it again, and check the load of its machine.",
                    scope="cluster",
                    command="kubectl get --raw '/readyz?verbose'",
                ),
            ),
        )


def check_rights(evidence: Evidence) -> Iterator[Finding]:
    """Find missing permissions, without which doctor could not see something."""
    missing = [review for review in require_seen(evidence.access).rights if not review.allowed]
    if not missing:
        return
    hint = (
        " (MicroK8s: `microk8s config` prints an admin's kubeconfig)"
        if remedies.is_microk8s(evidence)
        else ""
    )
    yield Finding(
        severity=Severity.WARNING,
        cause=f"context {evidence.context} lacks {len(missing)} of the rights that doctor needs",
        evidence=tuple(f"not allowed: {_describe(review)}" for review in missing),
        why="What cannot be seen is never reported as ok; such checks are “not observed”.",
        remedies=(
            Remedy(
                text="Ask an admin for these permissions; docs/rights.md has the role." + hint,
                scope="cluster",
                command=_format_grant(missing),
            ),
        ),
    )


def _describe(review: AccessReview) -> str:
    where = f" in {review.namespace}" if review.namespace else " in the whole cluster"
    return f"{review.verb} {review.resource}{where} ({review.purpose})"


def _format_grant(missing: list[AccessReview]) -> str:
    """Return the command that creates a role of what is missing in the cluster or a namespace."""
    namespace = missing[0].namespace
    reviews = [review for review in missing if review.namespace == namespace]
    verbs = ",".join(sorted({review.verb for review in reviews}))
    resources = ",".join(sorted({review.resource for review in reviews}))
    role = f"role mirror-doctor -n {namespace}" if namespace else "clusterrole mirror-doctor"
    return f"kubectl create {role} --verb={verbs} --resource={resources}"


_ACCESS = frozenset({Need.ACCESS})

CHECKS = (
    DoctorCheck(
        id="api.version",
        fact="this program supports the API server's version",
        needs=_ACCESS,
        find=check_version,
    ),
    DoctorCheck(
        id="api.answers",
        fact="the API server answers quickly",
        needs=_ACCESS,
        find=check_response_time,
    ),
    DoctorCheck(
        id="api.rights",
        fact="this user may see everything that doctor needs",
        needs=_ACCESS,
        find=check_rights,
    ),
)
