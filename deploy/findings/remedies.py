"""The remedies that several checks offer, and the commands in them. Pure.

Ordered from the least invasive to the most: a workload, a namespace, the cluster, the nodes.
"""

from __future__ import annotations

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.findings.model import Remedy


def set_ndots(
    workload: str = "deployment/NAME", namespace: str = "NAMESPACE", test_result: str = ""
) -> Remedy:
    """Return the remedy that makes one workload look up a name before it tries search domains."""
    return Remedy(
        "Let one workload look names up as they are first (ndots 1)." + test_result,
        "workload",
        f"mirror attach {workload} -n {namespace} --ndots --no-index",
        side_effect="short names such as service.namespace no longer resolve there (use "
        "service.namespace.svc.cluster.local); its pods restart",
    )


def attach_workload(workload: str = "deployment/NAME", namespace: str = "NAMESPACE") -> Remedy:
    """Return the remedy that makes one workload use the mirror."""
    return Remedy(
        "Let the workload use the mirror: its URL is an IPv4 address inside the cluster, so "
        "no DNS lookup and no way out of the cluster is needed.",
        "workload",
        f"mirror attach {workload} -n {namespace}",
        side_effect="its pods restart",
    )


def publish_environment(namespace: str = "NAMESPACE") -> Remedy:
    """Return the remedy that lets the workloads of a namespace use the mirror."""
    return Remedy(
        "Publish the mirror in a whole namespace: its URL is an IPv4 address inside the "
        "cluster, so no DNS lookup and no way out of the cluster is needed.",
        "namespace",
        f"mirror up && mirror env --publish {namespace}",
    )


def build_image(workload: str) -> Remedy:
    """Return the remedy that puts a workload's packages into its image."""
    return Remedy(
        f"Build an image that contains what {workload} downloads: it then starts without a "
        "network.",
        "workload",
        "build-image PATH",
        side_effect="the image has to be rebuilt when its lock changes",
    )


def run_mirror_up(text: str) -> Remedy:
    """Return the remedy that restores the mirror as it was recorded."""
    return Remedy(text, "namespace", "mirror up")


USE_MIRROR = publish_environment()
FILTER_IPV6_ANSWERS = Remedy(
    "Let CoreDNS remove IPv6 addresses from its answers.",
    "cluster",
    "mirror fix dns",
    side_effect="pods can no longer reach anything over IPv6 by name",
)
POD_SYSCTL = Remedy(
    "Start new pods without IPv6 (a `tuning` plugin in the CNI configuration); running pods "
    "keep IPv6 until they restart.",
    "nodes",
    "mirror fix pod-sysctl",
    side_effect="pods have no IPv6, not even inside the cluster",
)
IPPOOL = Remedy(
    "Stop assigning IPv6 addresses to pods: turn `assign_ipv6` off, then disable the pool.",
    "nodes",
    "mirror fix ippool",
    side_effect="new pods have no IPv6; running pods keep their address until they restart",
)


def is_microk8s(evidence: Evidence) -> bool:
    """Whether a node belongs to MicroK8s."""
    nodes = evidence.nodes
    return not isinstance(nodes, Unseen) and any(node.distribution == "microk8s" for node in nodes)


def enable_addon_command(evidence: Evidence, name: str, fallback: str) -> str:
    """Return the command that enables a MicroK8s add-on; ``fallback`` on other clusters."""
    return f"microk8s enable {name}" if is_microk8s(evidence) else fallback
