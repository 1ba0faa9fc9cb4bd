"""The conflist: readable, and the same on the nodes as in the ConfigMap."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.calico import Calico
from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import on_nodes

_MICROK8S_FILE = "/var/snap/microk8s/current/args/cni-network/cni.yaml"
_NODE_FILES = "/var/snap/microk8s/current/args/cni-network/10-calico.conflist"


def check_conflist(evidence: Evidence) -> Iterator[Finding]:
    """The template of the conflist cannot be read."""
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or not calico.conflist.broken:
        return
    yield Finding(
        check="cni.conflist",
        severity=Severity.ERROR,
        cause=f"the CNI configuration in ConfigMap {calico.namespace}/calico-config is no JSON",
        evidence=(calico.conflist.broken,),
        why="calico-node writes it to each node when it starts: from then on no pod starts there.",
        remedies=(
            Remedy(
                text="Mend the key cni_network_config, or take back what `mirror fix` did.",
                scope="cluster",
                command=f"kubectl -n {calico.namespace} edit configmap calico-config",
            ),
        ),
    )


def check_drift(evidence: Evidence) -> Iterator[Finding]:
    """What new pods have is not what the conflist in the ConfigMap says."""
    calico = require_seen(evidence.calico)
    if calico is None or calico.conflist is None or calico.conflist.broken:
        return
    told = calico.conflist
    untuned, given = [], []
    for node, view in iter_probe_views(evidence):
        if told.tunes_ipv6_off and view.ipv6_disabled is False:
            untuned.append(node)
        elif not told.assign_ipv6 and not told.tunes_ipv6_off and view.ipv6_addresses:
            given.append(node)
    for nodes, says, has in (
        (untuned, "switches IPv6 off in new pods (tuning)", "disable_ipv6 = 0"),
        (given, "gives pods no IPv6 (assign_ipv6 is false)", "an IPv6 address"),
    ):
        if nodes:
            yield _drifted(evidence, calico, nodes, says, has)


def _drifted(evidence: Evidence, calico: Calico, nodes: list[str], says: str, has: str) -> Finding:
    microk8s = remedies.is_microk8s(evidence)
    return Finding(
        check="cni.drift",
        severity=Severity.WARNING,
        cause=f"the CNI configuration in {calico.namespace}/calico-config {says}, and new pods "
        f"have {has} {on_nodes(nodes)}",
        nodes=tuple(nodes),
        evidence=(f"a pod started just now has {has} ({on_nodes(nodes)})",),
        why="The file on these nodes is another one: calico-node writes it only when it starts"
        + (
            f". On MicroK8s the file is {_NODE_FILES}, and {_MICROK8S_FILE} brings Calico back as "
            "it stands there whenever it is applied again (a refresh, a node that joins)."
            if microk8s
            else ", and something else may have written it since."
        ),
        remedies=(
            Remedy(
                text="Bring nodes and ConfigMap together again.",
                scope="nodes",
                command="mirror fix pod-sysctl" if "tuning" in says else "mirror fix ippool",
            ),
            Remedy(
                text="Or let calico-node write the file again.",
                scope="nodes",
                command=f"kubectl -n {calico.namespace} rollout restart daemonset/calico-node",
                side_effect="new pods wait while it restarts, node by node",
            ),
        ),
    )
