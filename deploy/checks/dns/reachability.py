"""Whether the index's name has an address, and whether pods reach it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from deploy.checks.dns.wording import (
    describe_answers,
    iter_answered_views,
    iter_name_views,
    quote_program,
)
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.findings import remedies
from deploy.findings.model import (
    SEEN,
    Finding,
    Remedy,
    Severity,
    check,
    error,
    report,
    warning,
)
from deploy.findings.phrases import group_by_line, on_nodes
from mirror.probe.model import ConnectionAttempt, NameView, ProgramRun, SearchStep

# the codes that explain a missing address; an answer with another code was not usable
_CODES = {"NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "TIMEOUT"}
_WHY = {
    "NXDOMAIN": "The DNS servers of the nodes do not know the name: no program resolves it, "
    "whatever its C library.",
    "TIMEOUT": "CoreDNS answers for the cluster, but not for this name: the server it forwards to "
    "does not answer.",
}
_OTHER_WHY = "The DNS servers of the nodes return an answer without an IPv4 address."


@check("dns.names", "the index's name has an IPv4 address", SEEN, Need.POD_DNS)
def check_names(evidence: Evidence) -> Iterator[Finding]:
    names: dict[str, dict[str, SearchStep]] = {}
    for node, view in iter_name_views(evidence):
        step = next(step for step in view.steps if not step.suffix)
        if not step.a.addresses and step.a.code in _CODES:
            names.setdefault(view.name, {})[node] = step
    for name, steps in names.items():
        why = _WHY.get(next(iter(steps.values())).a.code, _OTHER_WHY)
        yield error(
            f"{name} has no IPv4 address {on_nodes(steps)}",
            Remedy("Check the spelling of the name.", "workload"),
            Remedy(
                "See which server CoreDNS forwards to (`forward`), and query it yourself.",
                "cluster",
                _show_corefile_command(evidence),
            ),
            # a mirror would ask the same servers for its upstream
            replace(remedies.USE_MIRROR, insufficient=True),
            nodes=steps,
            evidence=group_by_line(
                {node: describe_answers(step.a, step.aaaa) for node, step in steps.items()}
            ),
            why=why,
        )


def _show_corefile_command(evidence: Evidence) -> str:
    corefile = evidence.corefile
    if isinstance(corefile, Unseen) or corefile is None:
        return "kubectl -n kube-system get configmaps"
    return f"kubectl -n {corefile.namespace} get configmap {corefile.name} -o yaml"


@check(
    "dns.ipv6-answers", "DNS only returns IPv6 addresses that pods can reach", SEEN, Need.POD_DNS
)
def check_ipv6_answers(evidence: Evidence) -> Iterator[Finding]:
    names: dict[str, dict[str, NameView]] = {}
    with_ipv6 = {node for node, view in iter_answered_views(evidence) if view.ipv6_addresses}
    for node, view in iter_name_views(evidence):
        ipv6, ipv4 = _split_families(view)
        failures = {"unreachable"} | ({"timeout"} if _any_connects(ipv4) else set())
        if not ipv6 or not all(connection.outcome in failures for connection in ipv6):
            continue
        # without an IPv6 address of its own, a pod is not expected to use the others
        if node in with_ipv6 or not _any_connects(ipv4) or _list_stopped_runs(view):
            names.setdefault(view.name, {})[node] = view
    for name, views in names.items():
        view = next(iter(views.values()))
        ipv6, ipv4 = _split_families(view)
        failed_runs = _list_stopped_runs(view)
        connects = _any_connects(ipv4)
        severity = Severity.ERROR if failed_runs else Severity.NOTE
        yield report(
            severity if connects else Severity.WARNING,
            f"{name} is answered with IPv6 addresses, and no IPv6 leads there {on_nodes(views)}",
            remedies.USE_MIRROR,
            remedies.FILTER_IPV6_ANSWERS,
            nodes=views,
            evidence=(
                *(f"{connection.address}: {connection.text}" for connection in ipv6),
                *(quote_program(run) for run in failed_runs),
            ),
            why="Programs that fall back to IPv4, such as uv and curl, work; others report "
            "`Network unreachable (os error 101)`."
            if connects
            else "Programs try the IPv6 address first and report `Network unreachable (os error "
            "101)` about it. Here IPv4 does not work either (dns.egress), so that message "
            "misleads.",
        )


@check("dns.egress", "pods reach the index over IPv4", SEEN, Need.POD_DNS)
def check_egress(evidence: Evidence) -> Iterator[Finding]:
    hosts: dict[str, dict[str, ConnectionAttempt]] = {}
    for node, view in iter_name_views(evidence):
        _, ipv4 = _split_families(view)
        if ipv4 and not _any_connects(ipv4):
            hosts.setdefault(f"{view.name}:{view.port}", {})[node] = ipv4[0]
    for host, attempts in hosts.items():
        outcomes = {attempt.outcome for attempt in attempts.values()}
        yield warning(
            f"pods cannot connect to {host} over IPv4 {on_nodes(attempts)}",
            remedies.USE_MIRROR,
            nodes=attempts,
            evidence=group_by_line(
                {node: f"{attempt.address}: {attempt.text}" for node, attempt in attempts.items()}
            ),
            why="The name resolves, but the connection fails. "
            + (
                "It was refused: nothing listens there, or a firewall rejects it."
                if outcomes == {"refused"}
                else "A firewall, a NetworkPolicy or a missing route blocks it. If that is "
                "intended, use the mirror."
            ),
        )


def _list_stopped_runs(view: NameView) -> list[ProgramRun]:
    """Return the programs that did not get past an address that cannot be reached."""
    return [run for run in view.programs if run.libc == "musl" and "nreach" in run.text]


def _split_families(view: NameView) -> tuple[list[ConnectionAttempt], list[ConnectionAttempt]]:
    """Return the connections over IPv6 and those over IPv4."""
    ipv6 = [each for each in view.connections if ip_address(each.address).version == 6]
    return ipv6, [each for each in view.connections if each not in ipv6]


def _any_connects(connections: list[ConnectionAttempt]) -> bool:
    return any(connection.outcome == "connects" for connection in connections)
