"""Which NetworkPolicies keep workloads from the mirror, and the one that lets them through."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.formats.network_policy import EgressPeer, list_denying
from deploy.manifests.model import NAME, POD_NAME, RECORD_MAP, build_selector, new_object
from deploy.manifests.record import parse_record

_NAME_LABEL = "kubernetes.io/metadata.name"  # every namespace has it
_PORT_NAME = "index"  # of the mirror's pod


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRules:
    """The NetworkPolicies by namespace, and the mirror as the peer that they may deny."""

    policies: Mapping[str, Sequence[Object]]
    mirror: EgressPeer | None

    def list_denying(self, namespace: str, pod_labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the policies that keep such pods from the mirror; empty if none does."""
        if self.mirror is None:
            return ()
        return list_denying(self.policies.get(namespace, ()), pod_labels, self.mirror)


def read_egress_rules(
    cluster: Cluster, mirror_namespace: str, namespace: str | None = None
) -> EgressRules:
    """Return the policies of a namespace, or of all. Raises ApiError if they may not be read."""
    policies: dict[str, list[Object]] = {}
    for policy in cluster.list("NetworkPolicy", namespace):
        policies.setdefault(policy["metadata"]["namespace"], []).append(policy)
    return EgressRules(policies=policies, mirror=_read_mirror(cluster, mirror_namespace))


def _read_mirror(cluster: Cluster, namespace: str) -> EgressPeer | None:
    record = parse_record(cluster.get("ConfigMap", RECORD_MAP, namespace), namespace)
    if record.cluster_ip is None:
        return None
    metadata: Object = (cluster.get("Namespace", namespace) or {}).get("metadata", {})
    pod = cluster.get("Pod", POD_NAME, namespace) or {}
    pod_ips = [entry["ip"] for entry in pod.get("status", {}).get("podIPs") or ()]
    return EgressPeer(
        namespace=namespace,
        namespace_labels={_NAME_LABEL: namespace, **(metadata.get("labels") or {})},
        pod_labels=build_selector(),
        addresses=(record.cluster_ip, *pod_ips),
        port=record.port,
        port_name=_PORT_NAME,
    )


def render_allow_command(namespace: str, mirror_namespace: str, port: int) -> str:
    """Return a command that lets all pods of a namespace reach the mirror, and only it."""
    policy = new_object("networking.k8s.io/v1", "NetworkPolicy", f"allow-{NAME}", namespace)
    del policy["metadata"]["labels"]  # it belongs to the namespace, not to the mirror
    peer = {
        "namespaceSelector": {"matchLabels": {_NAME_LABEL: mirror_namespace}},
        "podSelector": {"matchLabels": build_selector()},
    }
    policy["spec"] = {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [peer], "ports": [{"port": port, "protocol": "TCP"}]}],
    }
    return f"echo {shlex.quote(json.dumps(policy))} | kubectl apply -f -"
