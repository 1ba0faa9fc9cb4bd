"""Whether pods reach the mirror, and whether the mirror reaches its upstream."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import group_by_line, on_nodes


def check_reached(evidence: Evidence) -> Iterator[Finding]:
    """Find nodes whose pods get no answer, or an error, from the mirror's address."""
    state = require_seen(evidence.mirror)
    if not state.ready or state.service_address != state.recorded_address:
        return  # mirror.running and mirror.address report it
    views = {node: view.mirror for node, view in iter_probe_views(evidence) if view.mirror}
    unreached = {
        node: view.text or view.connection.text or "no answer"
        for node, view in views.items()
        if view.http == 0
    }
    failing = {node: f"HTTP {view.http}" for node, view in views.items() if view.http >= 500}
    if unreached:
        yield Finding(
            severity=Severity.ERROR,
            cause=f"pods do not reach the mirror at {state.recorded_address}:{state.port} "
            f"{on_nodes(unreached)}",
            nodes=tuple(unreached),
            evidence=group_by_line(unreached),
            why="The mirror is Ready. "
            + (
                "Pods on no node reach it: its Service has no endpoints, or a NetworkPolicy "
                "blocks them."
                if len(unreached) == len(views)
                else "Pods on other nodes do: check kube-proxy and the pod network of these nodes, "
                "and NetworkPolicies in the workloads' namespace."
            ),
            remedies=(
                Remedy(
                    text="Check the Service's endpoints and the NetworkPolicies.",
                    scope="cluster",
                    command=f"kubectl -n {state.namespace} get endpoints,networkpolicies "
                    "&& kubectl -n kube-system get pods -o wide",
                ),
            ),
        )
    if failing:
        yield Finding(
            severity=Severity.ERROR,
            cause=f"the mirror answers with errors {on_nodes(failing)}",
            nodes=tuple(failing),
            evidence=group_by_line(failing),
            remedies=(
                Remedy(
                    text="Read its log.",
                    scope="namespace",
                    command=f"kubectl -n {state.namespace} logs pypi-mirror-0 --all-containers "
                    "--tail=50",
                ),
            ),
        )


def check_upstream(evidence: Evidence) -> Iterator[Finding]:
    """Find a mirror that cannot reach the index that it mirrors."""
    state = require_seen(evidence.mirror)
    nodes = [
        node
        for node, view in iter_probe_views(evidence)
        if view.mirror and view.mirror.upstream == "away"
    ]
    if not nodes:
        return
    yield Finding(
        severity=Severity.WARNING,
        cause="the mirror does not reach the index that it mirrors",
        evidence=(f"the mirror reports it to pods {on_nodes(nodes)}",),
        why="Everything in the mirror is still served; other packages cannot be installed.",
        remedies=(
            Remedy(
                text="Find the reason in its status and log.",
                scope="namespace",
                command=f"mirror status && kubectl -n {state.namespace} logs pypi-mirror-0 "
                "--all-containers --tail=50",
            ),
        ),
    )
