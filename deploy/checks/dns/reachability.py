"""Behind the name: whether it has an address, and whether a pod gets there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from deploy.checks.dns.wording import describe_answers, iter_name_views, quote_program
from deploy.evidence.model import Evidence
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import group_by_line, on_nodes
from mirror.probe.model import ConnectionAttempt, NameView, SearchStep

_ANSWERED = {"NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "TIMEOUT"}  # others were answered
_WHY = {
    "NXDOMAIN": "The DNS that the nodes use does not know the name: no program finds it, whatever "
    "its C library.",
    "TIMEOUT": "CoreDNS answers for the cluster, and not for this name: whom it asks is silent.",
}


def check_names(evidence: Evidence) -> Iterator[Finding]:
    """Names that have no IPv4 address on some nodes, asked for without the search list."""
    lost: dict[str, dict[str, SearchStep]] = {}
    for node, name in iter_name_views(evidence):
        itself = _itself(name)
        if not itself.a.addresses and itself.a.code in _ANSWERED:
            lost.setdefault(name.name, {})[node] = itself
    for name_text, steps in lost.items():
        one = next(iter(steps.values()))
        yield Finding(
            check="dns.names",
            severity=Severity.ERROR,
            cause=f"{name_text} has no IPv4 address {on_nodes(steps)}",
            nodes=tuple(steps),
            evidence=group_by_line(
                {node: describe_answers(step.a, step.aaaa) for node, step in steps.items()}
            ),
            why=_WHY.get(
                one.a.code, "The DNS that the nodes use has an answer without an IPv4 address."
            ),
            remedies=(
                Remedy(text="Check the name for a slip of the pen.", scope="workload"),
                remedies.USE_MIRROR,
                Remedy(
                    text="See whom CoreDNS asks (`forward`), and ask that server yourself.",
                    scope="cluster",
                    command="kubectl -n kube-system get configmap coredns -o yaml",
                ),
            ),
        )


def check_ipv6_answers(evidence: Evidence) -> Iterator[Finding]:
    """AAAA answers whose addresses cannot be reached."""
    hit: dict[str, dict[str, NameView]] = {}
    for node, name in iter_name_views(evidence):
        six, four = _families(name)
        bad = {"unreachable"} | ({"timeout"} if _connects(four) else set())
        if six and all(one.outcome in bad for one in six):
            hit.setdefault(name.name, {})[node] = name
    for name_text, by_node in hit.items():
        name = next(iter(by_node.values()))
        six, four = _families(name)
        stumbles = [one for one in name.programs if one.libc == "musl" and "nreach" in one.text]
        if not _connects(four):
            severity = Severity.WARNING
        else:
            severity = Severity.ERROR if stumbles else Severity.NOTE
        yield Finding(
            check="dns.ipv6-answers",
            severity=severity,
            cause=f"{name_text} is answered with IPv6 addresses, and no IPv6 leads there "
            f"{on_nodes(by_node)}",
            nodes=tuple(by_node),
            evidence=(
                *(f"{one.address}: {one.text}" for one in six),
                *(quote_program(one) for one in stumbles),
            ),
            why="Programs that fall back to IPv4 work, uv and curl among them; one that does not "
            "says `Network unreachable (os error 101)`."
            if _connects(four)
            else "`Network unreachable (os error 101)` is said of the IPv6 address, which is tried "
            "first. Here IPv4 does not get through either (dns.egress), so the message names the "
            "wrong half of the trouble.",
            remedies=(
                remedies.USE_MIRROR,
                remedies.filter_ipv6_answers(),
            ),
        )


def check_egress(evidence: Evidence) -> Iterator[Finding]:
    """Resolved, but no IPv4 connection gets through."""
    hit: dict[str, dict[str, ConnectionAttempt]] = {}
    for node, name in iter_name_views(evidence):
        _, four = _families(name)
        if four and not _connects(four):
            hit.setdefault(f"{name.name}:{name.port}", {})[node] = four[0]
    for place, by_node in hit.items():
        outcomes = {one.outcome for one in by_node.values()}
        yield Finding(
            check="dns.egress",
            severity=Severity.WARNING,
            cause=f"pods do not get through to {place} over IPv4 {on_nodes(by_node)}",
            nodes=tuple(by_node),
            evidence=group_by_line(
                {node: f"{one.address}: {one.text}" for node, one in by_node.items()}
            ),
            why="The name resolves; the connection does not come about. "
            + (
                "Refused: something answered, and nothing listens there or a firewall says no."
                if outcomes == {"refused"}
                else "A firewall, a NetworkPolicy or a missing route is in between. "
                "Where that is meant, the mirror is the way in."
            ),
            remedies=(remedies.USE_MIRROR,),
        )


def _itself(name: NameView) -> SearchStep:
    return next(step for step in name.steps if not step.suffix)


def _families(name: NameView) -> tuple[list[ConnectionAttempt], list[ConnectionAttempt]]:
    """Connections over IPv6 and over IPv4."""
    six = [one for one in name.connections if ip_address(one.address).version == 6]
    return six, [one for one in name.connections if one not in six]


def _connects(tried: list[ConnectionAttempt]) -> bool:
    return any(one.outcome == "connects" for one in tried)
