"""The DNS servers: the Service, its pods, CoreDNS' configuration, and whether they answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from deploy.checks.dns.wording import is_silent
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import Unseen, require_seen
from deploy.findings import remedies
from deploy.findings.model import READ, SEEN, Finding, Remedy, check, error, warning
from deploy.findings.phrases import on_nodes
from deploy.formats import corefile as formats

_FORWARDING = {"forward", "proxy", "grpc", "fanout", "unbound", "dnsredir"}  # plugins


@check(
    "dns.service",
    "the DNS Service has Ready pods",
    READ,
    Need.DNS_SERVICE,
    Need.DNS_PODS,
    also=[Need.POD_DNS],
)
def check_service(evidence: Evidence) -> Iterator[Finding]:
    service, pods = require_seen(evidence.dns_service), require_seen(evidence.dns_pods)
    if service is None and _answers_pods(evidence):
        return  # DNS is in another namespace, or outside of the cluster
    if service is None:
        yield warning(
            "there is no Service kube-dns or coredns in kube-system",
            Remedy(
                "Enable the cluster's DNS.",
                "cluster",
                remedies.enable_addon_command(evidence, "dns", ""),
            ),
            why="Pods normally send every query to that Service. If DNS runs in another way, "
            "rely on what the pods themselves see.",
        )
        return
    if any(pod.ready for pod in pods):
        return
    namespace = service.name.partition("/")[0]
    start = (
        Remedy(
            "Start its pods, if its Deployment was scaled down to 0.",
            "cluster",
            f"kubectl -n {namespace} scale deployments -l {service.selector} --replicas=2",
        ),
    )
    yield error(
        f"no pod behind the DNS Service {service.name} is Ready",
        *(() if pods else start),
        Remedy(
            "See why they are not Ready." if pods else "See what should run them.",
            "cluster",
            f"kubectl -n {namespace} describe {'pods' if pods else 'deployments,daemonsets'} "
            f"-l {service.selector}",
        ),
        evidence=tuple(
            f"pod {pod.name} on {pod.node or 'no node'}: not Ready"
            + (f" ({pod.trouble})" if pod.trouble else "")
            for pod in pods
        )
        or (f"no pod has the labels {service.selector}",),
        why="No name resolves in any pod until one of them is Ready.",
    )


@check("dns.forward", "CoreDNS forwards queries for names outside the cluster", READ, Need.COREFILE)
def check_forward(evidence: Evidence) -> Iterator[Finding]:
    corefile = require_seen(evidence.corefile)
    if corefile is None or _may_forward(corefile.text):
        return
    yield error(
        f"the Corefile in ConfigMap {corefile.namespace}/{corefile.name} forwards no queries",
        Remedy(
            "Add `forward . /etc/resolv.conf` to the server block of the root zone (`.:53`).",
            "cluster",
            f"kubectl -n {corefile.namespace} edit configmap {corefile.name}",
        ),
        why="Names of the cluster resolve; all other names do not.",
    )


def _may_forward(text: str) -> bool:
    """Whether the server blocks of the root zone forward queries, or import what cannot be seen."""
    try:
        parsed = formats.parse(text)
    except formats.CorefileError:
        return True  # dns.corefile reports it
    if any(formats.find_variable(key) for block in parsed.server_blocks for key in block.keys):
        return True
    roots = [block for block in parsed.server_blocks if "." in block.zones]
    names = {each.name for block in roots for each in parsed.effective_directives(block)}
    return bool(names & {*_FORWARDING, "import"}) or (not roots and parsed.imports_blocks)


@check("dns.corefile", "CoreDNS can load the Corefile", READ, Need.COREFILE)
def check_corefile(evidence: Evidence) -> Iterator[Finding]:
    corefile = require_seen(evidence.corefile)
    try:
        formats.parse(corefile.text if corefile else "")
    except formats.CorefileError as problem:
        name = f"{corefile.namespace}/{corefile.name}" if corefile else ""
        yield warning(
            f"CoreDNS cannot load the Corefile in ConfigMap {name}",
            Remedy(
                "Correct it. If a fix of mirror was the last to write it: mirror rollback.",
                "cluster",
                "kubectl -n {} edit configmap {}".format(*name.split("/")),
            ),
            evidence=(str(problem),),
            why="Running pods of CoreDNS keep the configuration that they have; one that starts "
            "ends at once. No later change takes effect.",
        )


@check("dns.answers", "DNS answers pods on every node", SEEN, Need.POD_DNS)
def check_answers(evidence: Evidence) -> Iterator[Finding]:
    views = dict(iter_probe_views(evidence))
    servers = {
        node: view.resolv_conf.nameservers for node, view in views.items() if is_silent(view)
    }
    if not servers:
        return
    yield error(
        f"DNS does not answer pods {on_nodes(servers)}",
        *_explain_other_server(evidence, next(iter(servers)), servers.values()),
        Remedy(
            "Check the DNS pods, and the network pods of these nodes.",
            "cluster",
            "kubectl -n kube-system get pods -o wide",
        ),
        nodes=servers,
        evidence=(
            f"{node}: no answer from {', '.join(addresses) or 'any server (none in resolv.conf)'}"
            for node, addresses in servers.items()
        ),
        why="None of the queries was answered, so no program there resolves any name. "
        + (
            "All nodes are affected: check the DNS pods and the network to the Service."
            if len(servers) == len(views)
            else "Other nodes get answers: check kube-proxy and the pod network of these nodes."
        ),
    )


def _explain_other_server(
    evidence: Evidence, node: str, servers: Iterable[tuple[str, ...]]
) -> Iterator[Remedy]:
    """Yield the remedy if these pods ask a server that is not the DNS Service."""
    service = evidence.dns_service
    if isinstance(service, Unseen) or service is None:
        return
    asked = {server for each in servers for server in each}
    if not asked or asked & set(service.addresses):
        return
    if all(map(_is_link_local, asked)):
        yield Remedy(
            "Check NodeLocal DNSCache: pods ask it on their own node "
            f"({', '.join(sorted(asked))}), before the Service.",
            "nodes",
            "kubectl -n kube-system get pods -l k8s-app=node-local-dns -o wide",
        )
    else:
        yield Remedy(
            f"Set clusterDNS of the kubelet to the address of the Service {service.name}, "
            f"{service.addresses[0]}, restart the kubelet and the pods. The command shows what it "
            "is now.",
            "nodes",
            f"kubectl get --raw /api/v1/nodes/{node}/proxy/configz",
        )


def _is_link_local(server: str) -> bool:
    try:
        return ip_address(server).is_link_local
    except ValueError:
        return False  # resolv.conf may have anything


def _answers_pods(evidence: Evidence) -> bool:
    """Whether a pod was seen that gets answers."""
    if evidence.is_unseen(Need.POD_DNS):
        return False
    return any(not is_silent(view) for _, view in iter_probe_views(evidence))
