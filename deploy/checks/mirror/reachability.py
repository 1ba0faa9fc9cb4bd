"""Whether pods reach the mirror, and whether the mirror reaches its upstream."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings.model import SEEN, Finding, Remedy, check, error, warning
from deploy.findings.phrases import group_by_line, on_nodes


@check("mirror.reached", "pods on every node reach it", SEEN, Need.POD_DNS, Need.MIRROR)
def check_reached(evidence: Evidence) -> Iterator[Finding]:
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
        yield error(
            f"pods do not reach the mirror at {state.recorded_address}:{state.port} "
            f"{on_nodes(unreached)}",
            Remedy(
                "Check the Service's endpoints and the NetworkPolicies.",
                "cluster",
                f"kubectl -n {state.namespace} get endpoints,networkpolicies "
                "&& kubectl -n kube-system get pods -o wide",
            ),
            nodes=unreached,
            evidence=group_by_line(unreached),
            why="The mirror is Ready. "
            + (
                "No pod on any node reaches it: its Service has no endpoints, or a NetworkPolicy "
                "blocks them."
                if len(unreached) == len(views)
                else "Pods on other nodes do: check kube-proxy and the pod network of these nodes, "
                "and NetworkPolicies in the workloads' namespace."
            ),
        )
    if failing:
        yield error(
            f"the mirror answers with errors {on_nodes(failing)}",
            Remedy(
                "Read its log.",
                "namespace",
                f"kubectl -n {state.namespace} logs pypi-mirror-0 --all-containers --tail=50",
            ),
            nodes=failing,
            evidence=group_by_line(failing),
        )


@check("mirror.upstream", "it reaches the index that it mirrors", SEEN, Need.POD_DNS, Need.MIRROR)
def check_upstream(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    views = [(node, view.mirror) for node, view in iter_probe_views(evidence) if view.mirror]
    nodes = [node for node, view in views if view.upstream == "away"]
    if not nodes:
        return
    yield warning(
        "the mirror does not reach the index that it mirrors",
        Remedy(
            "Find the reason in its status and log.",
            "namespace",
            f"mirror status && kubectl -n {state.namespace} logs pypi-mirror-0 "
            "--all-containers --tail=50",
        ),
        evidence=(f"the mirror reports it to pods {on_nodes(nodes)}",),
        why="Everything in the mirror is still served; other packages cannot be installed.",
    )
