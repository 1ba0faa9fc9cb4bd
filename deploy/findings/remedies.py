"""The mends that several checks offer, from the least invasive: one workload, a namespace, the
cluster, the nodes. The commands of this program stand here and nowhere else in the checks.
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
    """One workload leaves the search list out."""
    return Remedy(
        text=text or "Let one workload try names as they are first (ndots 1).",
        scope="workload",
        command=f"mirror attach {workload} -n {namespace} --ndots --no-index",
        side_effect="there, short names such as service.namespace stop resolving (use "
        "service.namespace.svc.cluster.local); its pods restart",
    )


def attach_workload(
    workload: str = WORKLOAD_PLACEHOLDER, namespace: str = NAMESPACE_PLACEHOLDER
) -> Remedy:
    """One workload takes the mirror."""
    return Remedy(
        text="Give the workload the mirror: its URL is an IPv4 address, so no name is looked up "
        "and nothing outside of the cluster is reached.",
        scope="workload",
        command=f"mirror attach {workload} -n {namespace}",
        side_effect="its pods restart",
    )


def publish_environment(namespaces: Iterable[str] = (NAMESPACE_PLACEHOLDER,)) -> Remedy:
    """A namespace is given the mirror's environment."""
    return Remedy(
        text="Give a whole namespace the mirror: its URL is an IPv4 address, so no name is looked "
        "up and nothing outside of the cluster is reached.",
        scope="namespace",
        command="mirror up && mirror env --publish " + " ".join(dict.fromkeys(namespaces)),
    )


USE_MIRROR = publish_environment()

FIX_SEARCH_DOMAINS_COMMAND = "mirror fix search-domains"
FIX_DNS_COMMAND = "mirror fix dns"

POD_SYSCTL = Remedy(
    text="Start new pods without IPv6 (a `tuning` entry in the CNI's configuration); running pods "
    "keep theirs until they restart.",
    scope="nodes",
    command="mirror fix pod-sysctl",
    side_effect="no pod has IPv6, inside of the cluster either",
)
IPPOOL = Remedy(
    text="Stop giving pods IPv6 addresses: `assign_ipv6` off first, then the pool disabled.",
    scope="nodes",
    command="mirror fix ippool",
    side_effect="no new pod has IPv6; running pods keep their address until they restart",
)
HOST_SYSCTL = Remedy(
    text="Turn IPv6 off on the nodes themselves.",
    scope="nodes",
    command="mirror fix host-sysctl",
    side_effect="the nodes lose IPv6 altogether; pods are not touched by it",
)


def build_image(workload: str, path: str = "PATH") -> Remedy:
    """The packages go into the image."""
    return Remedy(
        text=f"Bake what {workload} downloads into its image: it then starts with no network.",
        scope="workload",
        command=f"build-image {path}",
        side_effect="the image is built anew when its lock changes",
    )


def is_microk8s(evidence: Evidence) -> bool:
    """Whether the nodes say that they are MicroK8s'."""
    nodes = evidence.nodes
    return not isinstance(nodes, Unseen) and any(node.distribution == "microk8s" for node in nodes)


def enable_addon_command(evidence: Evidence, name: str, fallback: str) -> str:
    """How a missing add-on is turned on: MicroK8s' command, or ``otherwise`` in words."""
    return f"microk8s enable {name}" if is_microk8s(evidence) else fallback


def filter_ipv6_answers() -> Remedy:
    """CoreDNS leaves AAAA records out."""
    return Remedy(
        text="Let CoreDNS leave IPv6 addresses out of its answers.",
        scope="cluster",
        command=FIX_DNS_COMMAND,
        side_effect="no pod reaches anything over IPv6 by name",
    )
