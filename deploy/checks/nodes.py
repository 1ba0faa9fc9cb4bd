"""The nodes themselves: whether pods can run there, and what their pods inherit from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.findings.phrases import group_by_line, join_names, on_nodes

CATEGORY = "nodes"
RANK = 20  # where it stands in the report

_MOST_SEARCH, _MOST_SERVERS = 6, 3  # what musl and older glibc read


def check_ready(evidence: Evidence) -> Iterator[Finding]:
    """Nodes that the control plane does not call Ready."""
    down = [node for node in require_seen(evidence.nodes) if not node.ready]
    if not down:
        return
    names = [node.name for node in down]
    microk8s = remedies.is_microk8s(evidence)
    restart = "sudo snap restart microk8s" if microk8s else "sudo systemctl restart kubelet"
    yield Finding(
        check="nodes.ready",
        severity=Severity.ERROR,
        cause=f"{join_names(names)} {'is' if len(names) == 1 else 'are'} not Ready",
        nodes=tuple(names),
        evidence=group_by_line({node.name: node.trouble or "not Ready" for node in down}),
        why="Pods there are gone or no longer watched, and what is only on such a node (a local "
        "volume, the one DNS pod) is away with it.",
        remedies=(
            Remedy(
                text="On that node: see whether it runs and reaches the API server, then restart "
                "its kubelet.",
                scope="nodes",
                command=("microk8s status && " if microk8s else "") + restart,
            ),
            Remedy(
                text="See what the control plane knows.",
                scope="nodes",
                command=f"kubectl describe node {names[0]}",
            ),
        ),
    )


def check_pressure(evidence: Evidence) -> Iterator[Finding]:
    """Nodes that are short of disk, memory or process ids."""
    tight = {
        node.name: join_names(node.pressures)
        for node in require_seen(evidence.nodes)
        if node.pressures
    }
    if not tight:
        return
    disk = any("Disk" in kinds for kinds in tight.values())
    yield Finding(
        check="nodes.pressure",
        severity=Severity.WARNING,
        cause=f"nodes are short of room {on_nodes(tight)}",
        nodes=tuple(tight),
        evidence=group_by_line(tight),
        why="The kubelet evicts pods there and takes no new ones"
        + (
            "; at disk pressure it also removes images that no pod uses: one that came without a "
            "registry has to be delivered again."
            if disk
            else "."
        ),
        remedies=(
            Remedy(
                text="Make room on the node (unused images: crictl rmi --prune).",
                scope="nodes",
                command=f"kubectl describe node {next(iter(tight))}",
            ),
        ),
    )


def check_cordoned(evidence: Evidence) -> Iterator[Finding]:
    """Nodes that take no new pods."""
    shut = [node.name for node in require_seen(evidence.nodes) if node.cordoned]
    if shut:
        yield Finding(
            check="nodes.cordoned",
            severity=Severity.WARNING,
            cause=f"no new pod is put {on_nodes(shut)} (cordoned)",
            nodes=tuple(shut),
            evidence=tuple(f"{name}: spec.unschedulable is true" for name in shut),
            why="A pod whose volume is on such a node stays Pending once it ends.",
            remedies=(
                Remedy(
                    text="Let pods in again, when the work on it is done.",
                    scope="nodes",
                    command=f"kubectl uncordon {' '.join(shut)}",
                ),
            ),
        )


def check_ipv6_only(evidence: Evidence) -> Iterator[Finding]:
    """Nodes that are known by IPv6 alone."""
    only = {
        node.name: join_names(node.addresses)
        for node in require_seen(evidence.nodes)
        if node.addresses and all(":" in one for one in node.addresses)
    }
    if only:
        yield Finding(
            check="nodes.ipv6-only",
            severity=Severity.WARNING,
            cause=f"the InternalIP is an IPv6 address only {on_nodes(only)}",
            nodes=tuple(only),
            evidence=group_by_line(only),
            why="The API server, the other nodes and Calico reach such a node over IPv6: turning "
            "host IPv6 off (host-sysctl) would take it out of the cluster, and is refused.",
            remedies=(
                Remedy(
                    text="Give its kubelet an IPv4 address first (--node-ip).",
                    scope="nodes",
                    command=f"kubectl get node {next(iter(only))} -o wide",
                ),
            ),
        )


def check_resolv_conf(evidence: Evidence) -> Iterator[Finding]:
    """What pods inherit of the nodes' resolv.conf: too much of it, or not the same everywhere."""
    lists = {node: view.resolv_conf for node, view in iter_probe_views(evidence)}
    long = {
        node: f"{len(conf.search)} search domains, {len(conf.nameservers)} servers"
        for node, conf in lists.items()
        if len(conf.search) > _MOST_SEARCH or len(conf.nameservers) > _MOST_SERVERS
    }
    if long:
        yield Finding(
            check="nodes.resolv-conf",
            severity=Severity.WARNING,
            cause=f"pods inherit more search domains than every C library reads {on_nodes(long)}",
            nodes=tuple(long),
            evidence=group_by_line(long),
            why="Old glibc reads six domains and leaves the rest out, musl reads what fits into "
            "256 characters: programs of one pod then walk different lists.",
            remedies=(remedies.set_ndots(), _take_out("what is not needed")),
        )
    # suffixes of the node itself: those of the cluster differ by the pod's namespace only
    own = {
        node: tuple(one for one in conf.search if not one.endswith("cluster.local"))
        for node, conf in lists.items()
    }
    counted = Counter(own.values())
    if len(counted) < 2:
        return
    usual, _ = counted.most_common(1)[0]
    others = {node: search for node, search in own.items() if search != usual}
    yield Finding(
        check="nodes.resolv-conf",
        severity=Severity.NOTE,
        cause=f"pods have another search list {on_nodes(others)} than on the other nodes",
        nodes=tuple(others),
        evidence=group_by_line(
            {node: join_names(search) or "no domain" for node, search in own.items()}
        ),
        why="The same pod may find a name on one node and not on another: the list comes from each "
        "node's own /etc/resolv.conf (the file that its kubelet is told by resolvConf).",
        remedies=(remedies.set_ndots(), _take_out("what the other nodes do not have")),
    )


def _take_out(what: str) -> Remedy:
    return Remedy(
        text=f"Take {what} out of /etc/resolv.conf of these nodes (netplan, DHCP client, "
        "systemd-resolved); pods get the new one when they restart.",
        scope="nodes",
    )


def check_gai_conf(evidence: Evidence) -> Iterator[Finding]:
    """An image or a node was given a gai.conf, which few programs read."""
    told = {
        node: "; ".join(view.gai_conf) for node, view in iter_probe_views(evidence) if view.gai_conf
    }
    if told:
        yield Finding(
            check="nodes.gai-conf",
            severity=Severity.NOTE,
            cause="/etc/gai.conf in the pod changes the order of addresses, for glibc alone",
            nodes=tuple(told),
            evidence=group_by_line(told),
            why="glibc's getaddrinfo sorts by it (`precedence ::ffff:0:0/96 100` puts IPv4 first). "
            "musl (static uv, Alpine) never reads it, Go's own resolver neither, and a gai.conf of "
            "the node reaches no pod: each image has its own. So curl may be mended and uv not.",
            remedies=(remedies.attach_workload(), remedies.USE_MIRROR),
        )


_PODS = frozenset({Need.POD_DNS})
_NODES = frozenset({Need.NODES})

CHECKS = (
    DoctorCheck(id="nodes.ready", fact="every node is Ready", needs=_NODES, find=check_ready),
    DoctorCheck(
        id="nodes.pressure",
        fact="no node is short of disk, memory or process ids",
        needs=_NODES,
        find=check_pressure,
    ),
    DoctorCheck(
        id="nodes.cordoned", fact="every node takes pods", needs=_NODES, find=check_cordoned
    ),
    DoctorCheck(
        id="nodes.ipv6-only",
        fact="every node is reached over IPv4",
        needs=_NODES,
        find=check_ipv6_only,
    ),
    DoctorCheck(
        id="nodes.resolv-conf",
        fact="pods inherit the same short search list on every node",
        needs=_PODS,
        find=check_resolv_conf,
    ),
    DoctorCheck(
        id="nodes.gai-conf",
        fact="no gai.conf hides what IPv6 does",
        needs=_PODS,
        find=check_gai_conf,
    ),
)
