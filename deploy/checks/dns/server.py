"""The servers: the Service, its pods, CoreDNS' configuration, and whether they answer."""

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
    """No Service, or none of its pods is Ready."""
    service, pods = require_seen(evidence.dns_service), require_seen(evidence.dns_pods)
    if service is None:
        yield Finding(
            check="dns.service",
            severity=Severity.WARNING,
            cause="there is no Service kube-dns or coredns in kube-system",
            why="Pods normally ask that Service for every name. Where DNS is run in another way, "
            "what the pods themselves see counts.",
            remedies=(
                Remedy(
                    text="Turn the cluster's DNS on.",
                    scope="cluster",
                    command=remedies.enable_addon_command(evidence, "dns", ""),
                ),
            ),
        )
        return
    ready = [pod for pod in pods if pod.ready]
    if ready:
        return
    namespace = service.name.partition("/")[0]
    yield Finding(
        check="dns.service",
        severity=Severity.ERROR,
        cause=f"no pod behind the DNS Service {service.name} is Ready",
        evidence=tuple(
            f"pod {pod.name} on {pod.node or 'no node'}: not Ready"
            + (f" ({pod.trouble})" if pod.trouble else "")
            for pod in pods
        )
        or (f"no pod has the labels {service.selector}",),
        why="No name resolves in any pod until one of them is.",
        remedies=(
            Remedy(
                text="See why they are not Ready.",
                scope="cluster",
                command=f"kubectl -n {namespace} describe pods -l {service.selector}",
            ),
        ),
    )


def check_forward(evidence: Evidence) -> Iterator[Finding]:
    """A Corefile without `forward` knows the cluster's own names only."""
    found = require_seen(evidence.corefile)
    if found is None or _FORWARD.search(found.text) or "import" in found.text:
        return
    yield Finding(
        check="dns.forward",
        severity=Severity.ERROR,
        cause=f"the Corefile in ConfigMap {found.namespace}/{found.name} forwards no questions",
        why="Names of the cluster resolve, every other name does not exist.",
        remedies=(
            Remedy(
                text="Add `forward . /etc/resolv.conf` to its server block.",
                scope="cluster",
                command=f"kubectl -n {found.namespace} edit configmap {found.name}",
            ),
        ),
    )


def check_answers(evidence: Evidence) -> Iterator[Finding]:
    """Nodes from which no question at all was answered."""
    unanswered = {
        node: view.resolv_conf.nameservers
        for node, view in iter_probe_views(evidence)
        if is_silent(view)
    }
    if not unanswered:
        return
    everywhere = len(unanswered) == len(list(iter_probe_views(evidence)))
    yield Finding(
        check="dns.answers",
        severity=Severity.ERROR,
        cause=f"DNS does not answer pods {on_nodes(unanswered)}",
        nodes=tuple(unanswered),
        evidence=tuple(
            f"{node}: no answer from {', '.join(servers) or 'any server (none in resolv.conf)'}"
            for node, servers in unanswered.items()
        ),
        why="Not one question came back, so no program there resolves anything. "
        + (
            "It is so on every node: the DNS pods, or the way to the Service."
            if everywhere
            else "Other nodes get answers: look at kube-proxy and the pod network of these nodes."
        ),
        remedies=(
            Remedy(
                text="Look at the DNS pods, and at the pods of these nodes that make the network.",
                scope="cluster",
                command="kubectl -n kube-system get pods -o wide",
            ),
        ),
    )
