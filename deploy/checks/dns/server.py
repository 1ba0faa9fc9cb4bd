"""The DNS servers: the Service, its pods, CoreDNS' configuration, and whether they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.checks.dns.wording import is_silent
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, check, error, warning
from deploy.findings.phrases import on_nodes

_FORWARD = re.compile(r"^\s*(forward|proxy)\s", re.MULTILINE)


@check("dns.service", "the DNS Service has Ready pods", Need.DNS_SERVICE, Need.DNS_PODS)
def check_service(evidence: Evidence) -> Iterator[Finding]:
    service, pods = require_seen(evidence.dns_service), require_seen(evidence.dns_pods)
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
    yield error(
        f"no pod behind the DNS Service {service.name} is Ready",
        Remedy(
            "See why they are not Ready.",
            "cluster",
            f"kubectl -n {namespace} describe pods -l {service.selector}",
        ),
        evidence=tuple(
            f"pod {pod.name} on {pod.node or 'no node'}: not Ready"
            + (f" ({pod.trouble})" if pod.trouble else "")
            for pod in pods
        )
        or (f"no pod has the labels {service.selector}",),
        why="No name resolves in any pod until one of them is Ready.",
    )


@check("dns.forward", "CoreDNS forwards queries for names outside the cluster", Need.COREFILE)
def check_forward(evidence: Evidence) -> Iterator[Finding]:
    corefile = require_seen(evidence.corefile)
    if corefile is None or _FORWARD.search(corefile.text) or "import" in corefile.text:
        return
    yield error(
        f"the Corefile in ConfigMap {corefile.namespace}/{corefile.name} forwards no queries",
        Remedy(
            "Add `forward . /etc/resolv.conf` to its server block.",
            "cluster",
            f"kubectl -n {corefile.namespace} edit configmap {corefile.name}",
        ),
        why="Names of the cluster resolve; all other names do not.",
    )


@check("dns.answers", "DNS answers pods on every node", Need.POD_DNS)
def check_answers(evidence: Evidence) -> Iterator[Finding]:
    views = dict(iter_probe_views(evidence))
    servers = {
        node: view.resolv_conf.nameservers for node, view in views.items() if is_silent(view)
    }
    if not servers:
        return
    yield error(
        f"DNS does not answer pods {on_nodes(servers)}",
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
