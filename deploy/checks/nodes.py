"""The nodes: whether pods can run there, and what their pods inherit from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import (
    READ,
    SEEN,
    Finding,
    Remedy,
    check,
    error,
    note,
    warning,
)
from deploy.findings.phrases import group_by_line, join_names, on_nodes

CATEGORY = "nodes"
RANK = 20  # its position in the report

_MAX_SEARCH, _MAX_SERVERS = 6, 3  # the limits of musl and older glibc


@check("nodes.ready", "every node is Ready", READ, Need.NODES)
def check_ready(evidence: Evidence) -> Iterator[Finding]:
    nodes = [node for node in require_seen(evidence.nodes) if not node.ready]
    if not nodes:
        return
    names = [node.name for node in nodes]
    restart = (
        "microk8s status && sudo snap restart microk8s"
        if remedies.is_microk8s(evidence)
        else "sudo systemctl restart kubelet"
    )
    yield error(
        f"{join_names(names)} {'is' if len(names) == 1 else 'are'} not Ready",
        Remedy(
            "On that node, check that the kubelet runs and reaches the API server, then "
            "restart it.",
            "nodes",
            restart,
        ),
        Remedy("See what the control plane reports.", "nodes", f"kubectl describe node {names[0]}"),
        nodes=names,
        evidence=group_by_line({node.name: node.trouble or "not Ready" for node in nodes}),
        why="Their pods are gone or no longer watched, and so is everything that only such a node "
        "has: a local volume, or the only DNS pod.",
    )


@check("nodes.pressure", "no node is short of disk, memory or process IDs", READ, Need.NODES)
def check_pressure(evidence: Evidence) -> Iterator[Finding]:
    nodes = require_seen(evidence.nodes)
    pressures = {node.name: join_names(node.pressures) for node in nodes if node.pressures}
    if not pressures:
        return
    short_of_disk = any("Disk" in kinds for kinds in pressures.values())
    yield warning(
        f"nodes are short of resources {on_nodes(pressures)}",
        Remedy(
            "Free space on the node (unused images: crictl rmi --prune).",
            "nodes",
            f"kubectl describe node {next(iter(pressures))}",
        ),
        nodes=pressures,
        evidence=group_by_line(pressures),
        why="The kubelet evicts pods there and accepts no new ones"
        + (
            "; when short of disk it also removes images that no pod uses: an image that was "
            "delivered without a registry has to be delivered again."
            if short_of_disk
            else "."
        ),
    )


@check("nodes.cordoned", "every node accepts pods", READ, Need.NODES)
def check_cordoned(evidence: Evidence) -> Iterator[Finding]:
    names = [node.name for node in require_seen(evidence.nodes) if node.cordoned]
    if names:
        yield warning(
            f"no new pod is scheduled {on_nodes(names)} (cordoned)",
            Remedy(
                "Allow pods again when the maintenance is done.",
                "nodes",
                f"kubectl uncordon {' '.join(names)}",
            ),
            nodes=names,
            evidence=(f"{name}: spec.unschedulable is true" for name in names),
            why="A pod whose volume is on such a node stays Pending after its next restart.",
        )


@check("nodes.ipv6-only", "every node has an IPv4 address", READ, Need.NODES)
def check_ipv6_only(evidence: Evidence) -> Iterator[Finding]:
    addresses = {
        node.name: join_names(node.addresses)
        for node in require_seen(evidence.nodes)
        if node.addresses and all(":" in address for address in node.addresses)
    }
    if addresses:
        yield warning(
            f"the InternalIP is an IPv6 address only {on_nodes(addresses)}",
            Remedy(
                "Give its kubelet an IPv4 address first (--node-ip).",
                "nodes",
                f"kubectl get node {next(iter(addresses))} -o wide",
            ),
            nodes=addresses,
            evidence=group_by_line(addresses),
            why="The API server, the other nodes and Calico reach such a node over IPv6. Turning "
            "IPv6 off on hosts (host-sysctl) would take it out of the cluster and is refused.",
        )


def _find_node_domains(search: tuple[str, ...]) -> tuple[str, ...]:
    """Return the search domains that are the node's, not the cluster's, whatever that is called.

    A kubelet puts NAMESPACE.svc.DOMAIN, svc.DOMAIN and DOMAIN first.
    """
    clusters = {domain.removeprefix("svc.") for domain in search if domain.startswith("svc.")}
    own = {f"svc.{domain}" for domain in clusters} | clusters
    return tuple(
        domain
        for domain in search
        if domain not in own and domain.partition(".svc.")[2] not in clusters
    )


def _remove_subdomains(domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return the domains without those below another: each zone of a cloud has its own."""
    return tuple(
        domain for domain in domains if not any(domain.endswith(f".{other}") for other in domains)
    )


@check(
    "nodes.resolv-conf", "pods inherit the same short search list on every node", SEEN, Need.POD_DNS
)
def check_resolv_conf(evidence: Evidence) -> Iterator[Finding]:
    configs = {node: view.resolv_conf for node, view in iter_probe_views(evidence)}
    too_long = {
        node: f"{len(config.search)} search domains, {len(config.nameservers)} servers"
        for node, config in configs.items()
        if len(config.search) > _MAX_SEARCH or len(config.nameservers) > _MAX_SERVERS
    }
    if too_long:
        yield warning(
            f"pods inherit more search domains than every C library reads {on_nodes(too_long)}",
            remedies.set_ndots(),
            _edit_resolv_conf("domains that are not needed"),
            nodes=too_long,
            evidence=group_by_line(too_long),
            why="Old glibc reads six domains and ignores the rest; musl reads what fits into 256 "
            "characters. So programs in one pod use different lists.",
        )
    # the cluster's own domains differ between pods only by the pod's namespace
    node_domains = {
        node: _remove_subdomains(_find_node_domains(config.search))
        for node, config in configs.items()
    }
    counts = Counter(node_domains.values())
    if len(counts) < 2:
        return
    usual, _ = counts.most_common(1)[0]
    others = [node for node, domains in node_domains.items() if domains != usual]
    yield note(
        f"pods have another search list {on_nodes(others)} than on the other nodes",
        remedies.set_ndots(),
        _edit_resolv_conf("domains that the other nodes do not have"),
        nodes=others,
        evidence=group_by_line(
            {node: join_names(domains) or "no domain" for node, domains in node_domains.items()}
        ),
        why="The same pod may resolve a name on one node and not on another: the list comes from "
        "the node's own /etc/resolv.conf (the file in the kubelet's resolvConf setting).",
    )


def _edit_resolv_conf(domains: str) -> Remedy:
    return Remedy(
        f"Remove {domains} from /etc/resolv.conf of these nodes (netplan, DHCP client, "
        "systemd-resolved); pods get the new list when they restart.",
        "nodes",
    )


@check("nodes.gai-conf", "no gai.conf hides problems with IPv6", SEEN, Need.POD_DNS)
def check_gai_conf(evidence: Evidence) -> Iterator[Finding]:
    configs = {
        node: "; ".join(view.gai_conf) for node, view in iter_probe_views(evidence) if view.gai_conf
    }
    if configs:
        yield note(
            "/etc/gai.conf in the pod changes the order of addresses, for glibc alone",
            remedies.attach_workload(),
            remedies.USE_MIRROR,
            nodes=configs,
            evidence=group_by_line(configs),
            why="glibc's getaddrinfo sorts addresses by it (`precedence ::ffff:0:0/96 100` puts "
            "IPv4 first). musl (static uv, Alpine) and Go's own resolver never read it, and a "
            "gai.conf of the node does not affect pods: each image has its own. So it may fix curl "
            "and not uv.",
        )


CHECKS = (
    check_ready,
    check_pressure,
    check_cordoned,
    check_ipv6_only,
    check_resolv_conf,
    check_gai_conf,
)
