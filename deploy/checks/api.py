"""The API server, and what this user may look at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.access import AccessReview
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity

CATEGORY = "api"
RANK = 10  # where it stands in the report

_OLDEST = 27  # minor version whose server-side apply and Pod Security this program was made for
_SLOW = 3.0  # seconds


def check_version(evidence: Evidence) -> Iterator[Finding]:
    """A Kubernetes that is too old."""
    told = require_seen(evidence.access).version
    found = re.match(r"v?1\.(\d+)", told)
    if found and int(found[1]) < _OLDEST:
        channel = f"1.{_OLDEST + 5}/stable"
        yield Finding(
            check="api.version",
            severity=Severity.WARNING,
            cause=f"Kubernetes {told} is older than what this program was made for",
            evidence=(f"the oldest is v1.{_OLDEST}",),
            why="Server-side apply and Pod Security are not the same there.",
            remedies=(
                Remedy(
                    text="Bring the cluster to a newer version, one minor version at a time.",
                    scope="cluster",
                    command=f"sudo snap refresh microk8s --channel={channel}"
                    if remedies.is_microk8s(evidence)
                    else "",
                ),
            ),
        )


def check_response_time(evidence: Evidence) -> Iterator[Finding]:
    """It takes long to answer."""
    seconds = require_seen(evidence.access).seconds
    if seconds > _SLOW:
        yield Finding(
            check="api.answers",
            severity=Severity.WARNING,
            cause=f"the API server took {seconds:.1f} s for its version",
            evidence=(f"context {evidence.context}, {evidence.server}",),
            why="Its datastore is slow (a busy disk), or the way to it is: everything that watches "
            "the cluster lags behind, DNS too.",
            remedies=(
                Remedy(
                    text="Ask it again, and look at the load of its machine.",
                    scope="cluster",
                    command="kubectl get --raw '/readyz?verbose'",
                ),
            ),
        )


def check_rights(evidence: Evidence) -> Iterator[Finding]:
    """Rights without which something was not looked at."""
    missing = [one for one in require_seen(evidence.access).rights if not one.allowed]
    if not missing:
        return
    microk8s = remedies.is_microk8s(evidence)
    admin = " (MicroK8s: `microk8s config` prints an admin's kubeconfig)" if microk8s else ""
    yield Finding(
        check="api.rights",
        severity=Severity.WARNING,
        cause=f"context {evidence.context} lacks {len(missing)} of the rights that doctor needs",
        evidence=tuple(f"may not: {_said(one)}" for one in missing),
        why="What cannot be seen is not said to be well: it stands as “not seen” above.",
        remedies=(
            Remedy(
                text="Ask an admin for them; docs/rights.md has the role." + admin,
                scope="cluster",
                command=_grant(missing),
            ),
        ),
    )


def _said(right: AccessReview) -> str:
    where = f" in {right.namespace}" if right.namespace else " in the whole cluster"
    return f"{right.verb} {right.resource}{where} ({right.purpose})"


def _grant(missing: list[AccessReview]) -> str:
    """The command that makes a role of what is missing, in the cluster or else a namespace."""
    scope = missing[0].namespace
    of_scope = [one for one in missing if one.namespace == scope]
    verbs = ",".join(sorted({one.verb for one in of_scope}))
    resources = ",".join(sorted({one.resource for one in of_scope}))
    kind = f"role mirror-doctor -n {scope}" if scope else "clusterrole mirror-doctor"
    return f"kubectl create {kind} --verb={verbs} --resource={resources}"


_ACCESS = frozenset({Need.ACCESS})

CHECKS = (
    DoctorCheck(
        id="api.version",
        fact="the API server is of a version that this program knows",
        needs=_ACCESS,
        find=check_version,
    ),
    DoctorCheck(id="api.answers", fact="it answers soon", needs=_ACCESS, find=check_response_time),
    DoctorCheck(
        id="api.rights",
        fact="this user may look at everything that doctor needs",
        needs=_ACCESS,
        find=check_rights,
    ),
)
