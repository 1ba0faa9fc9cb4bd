"""The conflist: valid, and the same on the nodes as in the ConfigMap."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.calico import Calico
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, check, error, warning
from deploy.findings.phrases import on_nodes

_MICROK8S_MANIFEST = "/var/snap/microk8s/current/args/cni-network/cni.yaml"
_MICROK8S_CONFLIST = "/var/snap/microk8s/current/args/cni-network/10-calico.conflist"


@check("cni.conflist", "the CNI configuration is valid", Need.CALICO)
def check_conflist(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or not calico.conflist.broken:
        return
    yield error(
        f"the CNI configuration in ConfigMap {calico.namespace}/calico-config is not valid JSON",
        Remedy(
            "Correct the key cni_network_config, or roll back what `mirror fix` did.",
            "cluster",
            f"kubectl -n {calico.namespace} edit configmap calico-config",
        ),
        evidence=(calico.conflist.broken,),
        why="calico-node writes it to each node when it starts; from then on no pod starts there.",
    )


@check("cni.drift", "new pods match the CNI configuration", Need.POD_DNS, Need.CALICO)
def check_drift(evidence: Evidence) -> Iterator[Finding]:
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    conflist = calico.conflist
    not_tuned, assigned = [], []
    for node, view in iter_probe_views(evidence):
        if conflist.tunes_ipv6_off and view.ipv6_disabled is False:
            not_tuned.append(node)
        elif not conflist.assign_ipv6 and not conflist.tunes_ipv6_off and view.ipv6_addresses:
            assigned.append(node)
    if not_tuned:
        yield _report_drift(
            evidence,
            calico,
            not_tuned,
            setting="switches IPv6 off in new pods (tuning)",
            actual="disable_ipv6 = 0",
            command="mirror fix pod-sysctl",
        )
    if assigned:
        yield _report_drift(
            evidence,
            calico,
            assigned,
            setting="gives pods no IPv6 (assign_ipv6 is false)",
            actual="an IPv6 address",
            command="mirror fix ippool",
        )


def _report_drift(
    evidence: Evidence,
    calico: Calico,
    nodes: list[str],
    *,
    setting: str,
    actual: str,
    command: str,
) -> Finding:
    return warning(
        f"the CNI configuration in {calico.namespace}/calico-config {setting}, and new pods "
        f"have {actual} {on_nodes(nodes)}",
        Remedy("Bring nodes and ConfigMap in line again.", "nodes", command),
        Remedy(
            "Or let calico-node write the file again.",
            "nodes",
            f"kubectl -n {calico.namespace} rollout restart daemonset/calico-node",
            side_effect="new pods wait while it restarts, node by node",
        ),
        nodes=nodes,
        evidence=(f"a pod that was just started has {actual} ({on_nodes(nodes)})",),
        why="These nodes have a different file: calico-node only writes it when it starts"
        + (
            f". On MicroK8s the file is {_MICROK8S_CONFLIST}; whenever {_MICROK8S_MANIFEST} is "
            "applied again (by a refresh, or when a node joins), Calico is reset to what is in it."
            if remedies.is_microk8s(evidence)
            else ", and something else may have written it since."
        ),
    )
