"""Whether pods reach it, and whether it reaches its upstream."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import group_by_line, on_nodes


def check_reached(evidence: Evidence) -> Iterator[Finding]:
    """Nodes whose pods do not get an answer from the mirror's address."""
    state = require_seen(evidence.mirror)
    if not state.ready or state.service_address != state.recorded_address:
        return  # mirror.running, mirror.address say it
    asked = {node: view.mirror for node, view in iter_probe_views(evidence) if view.mirror}
    lost = {
        node: one.text or one.connection.text or "no answer"
        for node, one in asked.items()
        if one.http == 0
    }
    failing = {node: f"HTTP {one.http}" for node, one in asked.items() if one.http >= 500}
    if lost:
        everywhere = len(lost) == len(asked)
        yield Finding(
            check="mirror.reached",
            severity=Severity.ERROR,
            cause=f"pods do not reach the mirror at {state.recorded_address}:{state.port} {on_nodes(lost)}",
            nodes=tuple(lost),
            evidence=group_by_line(lost),
            why="The mirror is Ready. "
            + (
                "No node's pods reach it: its Service has no endpoints, or a NetworkPolicy is in "
                "between."
                if everywhere
                else "Other nodes' pods do: look at kube-proxy and the pod network of these nodes, "
                "or at a NetworkPolicy of the workloads' namespace."
            ),
            remedies=(
                Remedy(
                    text="See whom the Service leads to, and who may talk to whom.",
                    scope="cluster",
                    command=f"kubectl -n {state.namespace} get endpoints,networkpolicies "
                    "&& kubectl -n kube-system get pods -o wide",
                ),
            ),
        )
    if failing:
        yield Finding(
            check="mirror.reached",
            severity=Severity.ERROR,
            cause=f"the mirror answers with errors {on_nodes(failing)}",
            nodes=tuple(failing),
            evidence=group_by_line(failing),
            remedies=(
                Remedy(
                    text="Read what it says.",
                    scope="namespace",
                    command=f"kubectl -n {state.namespace} logs pypi-mirror-0 --all-containers "
                    "--tail=50",
                ),
            ),
        )


def check_upstream(evidence: Evidence) -> Iterator[Finding]:
    """The mirror cannot reach the index that it mirrors."""
    state = require_seen(evidence.mirror)
    words = {node: view.mirror.upstream for node, view in iter_probe_views(evidence) if view.mirror}
    if "away" not in words.values():
        return
    yield Finding(
        check="mirror.upstream",
        severity=Severity.WARNING,
        cause="the mirror does not reach the index that it mirrors",
        evidence=(
            f"its own word, asked {on_nodes(n for n, word in words.items() if word == 'away')}",
        ),
        why="What it has is served as ever; what it does not have yet cannot be installed.",
        remedies=(
            Remedy(
                text="See why, in its status and log.",
                scope="namespace",
                command=f"mirror status && kubectl -n {state.namespace} logs pypi-mirror-0 "
                "--all-containers --tail=50",
            ),
        ),
    )
