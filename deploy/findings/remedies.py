"""The remedies that several checks offer, and the commands in them. Pure.

Ordered from the least invasive: they change one workload, a namespace, the cluster, the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.findings.model import Remedy

WORKLOAD_PLACEHOLDER = "deployment/NAME"
NAMESPACE_PLACEHOLDER = "NAMESPACE"


def set_ndots(
    text: str = "", workload: str = WORKLOAD_PLACEHOLDER, namespace: str = NAMESPACE_PLACEHOLDER
) -> Remedy:
    """Return the remedy that one workload looks names up before it tries search domains."""
    return Remedy(
        text or "Let one workload look names up as they are first (ndots 1).",
        "workload",
        f"mirror attach {workload} -n {namespace} --ndots --no-index",
        side_effect="short names such as service.namespace no longer resolve there (use "
        "service.namespace.svc.cluster.local); its pods restart",
    )


def attach_workload(
    workload: str = WORKLOAD_PLACEHOLDER, namespace: str = NAMESPACE_PLACEHOLDER
) -> Remedy:
    """Return the remedy that one workload uses the mirror."""
    return Remedy(
        "Let the workload use the mirror: its URL is an IPv4 address inside the cluster, so "
        "no DNS lookup and no way out of the cluster is needed.",
        "workload",
        f"mirror attach {workload} -n {namespace}",
        side_effect="its pods restart",
    )


def publish_environment(namespaces: Iterable[str] = (NAMESPACE_PLACEHOLDER,)) -> Remedy:
    """Return the remedy that the workloads of namespaces can use the mirror."""
    return Remedy(
        "Publish the mirror in a whole namespace: its URL is an IPv4 address inside the "
        "cluster, so no DNS lookup and no way out of the cluster is needed.",
        "namespace",
        "mirror up && mirror env --publish " + " ".join(dict.fromkeys(namespaces)),
    )


def build_image(workload: str, path: str = "PATH") -> Remedy:
    """Return the remedy that a workload's image contains its packages."""
    return Remedy(
        f"Build an image that contains what {workload} downloads: it then starts without a "
        "network.",
        "workload",
        f"build-image {path}",
        side_effect="the image has to be rebuilt when its lock changes",
    )


def run_mirror_up(text: str) -> Remedy:
    """Return the remedy that restores the mirror as it was recorded."""
    return Remedy(text, "namespace", "mirror up")


def filter_ipv6_answers() -> Remedy:
    """Return the remedy that CoreDNS answers without AAAA records."""
    return Remedy(
        "Let CoreDNS remove IPv6 addresses from its answers.",
        "cluster",
        FIX_DNS_COMMAND,
        side_effect="pods can no longer reach anything over IPv6 by name",
    )


FIX_SEARCH_DOMAINS_COMMAND = "mirror fix search-domains"
FIX_DNS_COMMAND = "mirror fix dns"

USE_MIRROR = publish_environment()
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
