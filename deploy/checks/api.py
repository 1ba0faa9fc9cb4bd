"""The API server, and what this user may see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.access import AccessReview
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import READ, SEEN, Finding, Remedy, check, warning

CATEGORY = "api"
RANK = 10  # its position in the report

_MIN_MINOR_VERSION = 27  # server-side apply and Pod Security work as this program expects
_MAX_SECONDS = 3.0


@check("api.version", "this program supports the API server's version", READ, Need.ACCESS)
def check_version(evidence: Evidence) -> Iterator[Finding]:
    version = require_seen(evidence.access).version
    match = re.match(r"v?1\.(\d+)", version)
    if match and int(match[1]) < _MIN_MINOR_VERSION:
        channel = f"1.{_MIN_MINOR_VERSION + 5}/stable"
        yield warning(
            f"Kubernetes {version} is older than what this program was made for",
            Remedy(
                "Upgrade the cluster, one minor version at a time.",
                "cluster",
                f"sudo snap refresh microk8s --channel={channel}"
                if remedies.is_microk8s(evidence)
                else "",
            ),
            evidence=(f"the oldest supported version is v1.{_MIN_MINOR_VERSION}",),
            why="Server-side apply and Pod Security behave differently in this version.",
        )


@check("api.answers", "the API server answers quickly", SEEN, Need.ACCESS)
def check_response_time(evidence: Evidence) -> Iterator[Finding]:
    seconds = require_seen(evidence.access).seconds
    if seconds > _MAX_SECONDS:
        yield warning(
            f"the API server took {seconds:.1f} s for its version",
            Remedy(
                "Ask it again, and check the load of its machine.",
                "cluster",
                "kubectl get --raw '/readyz?verbose'",
            ),
            evidence=(f"context {evidence.context}, {evidence.server}",),
            why="Its datastore is slow (a busy disk), or the connection to it is. Everything that "
            "watches the cluster lags behind, including DNS.",
        )


@check("api.rights", "this user may see everything that doctor needs", SEEN, Need.ACCESS)
def check_rights(evidence: Evidence) -> Iterator[Finding]:
    missing = [review for review in require_seen(evidence.access).rights if not review.allowed]
    if not missing:
        return
    hint = (
        " (MicroK8s: `microk8s config` prints an admin's kubeconfig)"
        if remedies.is_microk8s(evidence)
        else ""
    )
    yield warning(
        f"context {evidence.context} lacks {len(missing)} of the rights that doctor needs",
        Remedy(
            "Ask an admin for these permissions; docs/rights.md has the role." + hint,
            "cluster",
            _format_grant(missing),
        ),
        evidence=(f"not allowed: {review} ({review.purpose})" for review in missing),
        why="Checks that need these permissions are reported as “not observed”, never as ok.",
    )


def _format_grant(missing: list[AccessReview]) -> str:
    """Return the command that grants what is missing, in the scope of the first missing right."""
    namespace = missing[0].namespace
    reviews = [review for review in missing if review.namespace == namespace]
    verbs = ",".join(sorted({review.verb for review in reviews}))
    resources = ",".join(sorted({review.resource for review in reviews}))
    role = f"role mirror-doctor -n {namespace}" if namespace else "clusterrole mirror-doctor"
    return f"kubectl create {role} --verb={verbs} --resource={resources}"


CHECKS = (check_version, check_response_time, check_rights)
