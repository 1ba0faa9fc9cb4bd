"""The DNS servers: the Service, its pods, CoreDNS' configuration, and whether they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.checks.dns.wording import is_silent
from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import require_seen
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import on_nodes

_FORWARD = re.compile(r"^\s*(forward|proxy)\s", re.MULTILINE)


def check_service(evidence: Evidence) -> Iterator[Finding]:
    """Find a missing DNS Service, or one without Ready pods."""
    service, pods = require_seen(evidence.dns_service), require_seen(evidence.dns_pods)
    if service is None:
        yield Finding(
            severity=Severity.WARNING,
            cause="there is no Service kube-dns or coredns in kube-system",
            why="Pods normally send every question to that Service. If DNS runs in another way, "
            "rely on what the pods themselves see.",
            remedies=(
                Remedy(
                    text="Enable the cluster's DNS.",
                    scope="cluster",
                    command=remedies.enable_addon_command(evidence, "dns", ""),
                ),
            ),
        )
        return
    if any(pod.ready for pod in pods):
        return
    namespace = service.name.partition("/")[0]
    yield Finding(
        severity=Severity.ERROR,
        cause=f"no pod behind the DNS Service {service.name} is Ready",
        evidence=tuple(
            f"pod {pod.name} on {pod.node or 'no node'}: not Ready"
            + (f" ({pod.trouble})" if pod.trouble else "")
            for pod in pods
        )
        or (f"no pod has the labels {service.selector}",),
        why="No name resolves in any pod until one of them is Ready.",
        remedies=(
            Remedy(
                text="See why they are not Ready.",
                scope="cluster",
                command=f"kubectl -n {namespace} describe pods -l {service.selector}",
            ),
        ),
    )


def check_forward(evidence: Evidence) -> Iterator[Finding]:
    """Find a Corefile without `forward`: it only resolves the cluster's own names."""
    corefile = require_seen(evidence.corefile)
    if corefile is None or _FORWARD.search(corefile.text) or "import" in corefile.text:
        return
    yield Finding(
        severity=Severity.ERROR,
        cause=f"the Corefile in ConfigMap {corefile.namespace}/{corefile.name} forwards no "
        "questions",
        why="Names of the cluster resolve; all other names do not.",
        remedies=(
            Remedy(
                text="Add `forward . /etc/resolv.conf` to its server block.",
                scope="cluster",
                command=f"kubectl -n {corefile.namespace} edit configmap {corefile.name}",
            ),
        ),
    )


def check_answers(evidence: Evidence) -> Iterator[Finding]:
    """Find nodes whose pods got no answer at all."""
    views = dict(iter_probe_views(evidence))
    servers = {
        node: view.resolv_conf.nameservers for node, view in views.items() if is_silent(view)
    }
    if not servers:
        return
    yield Finding(
        severity=Severity.ERROR,
        cause=f"DNS does not answer pods {on_nodes(servers)}",
        nodes=tuple(servers),
        evidence=tuple(
            f"{node}: no answer from {', '.join(addresses) or 'any server (none in resolv.conf)'}"
            for node, addresses in servers.items()
        ),
        why="None of the questions was answered, so no program there resolves any name. "
        + (
            "All nodes are affected: check the DNS pods and the network to the Service."
            if len(servers) == len(views)
            else "Other nodes get answers: check kube-proxy and the pod network of these nodes."
        ),
        remedies=(
            Remedy(
                text="Check the DNS pods, and the network pods of these nodes.",
                scope="cluster",
                command="kubectl -n kube-system get pods -o wide",
            ),
        ),
    )
