"""The search list: domains that answer where they should not, and who falls over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.checks.dns.wording import (
    GAVE_UP,
    describe_answer,
    describe_answers,
    iter_answered_views,
    iter_name_views,
    quote_program,
)
from deploy.evidence.model import Evidence
from deploy.findings import remedies
from deploy.findings.model import Finding, Remedy, Severity, Table
from deploy.findings.phrases import on_nodes
from mirror.probe.model import DnsAnswer, NameView

_FIELD = "failed to lookup address information: Name has no usable address"


def check_search_domains(evidence: Evidence) -> Iterator[Finding]:
    """Search domains that do not answer NXDOMAIN to names that cannot exist; one finding each."""
    told: dict[str, dict[str, DnsAnswer]] = {}
    for node, view in iter_answered_views(evidence):
        for one in view.suffixes:
            if one.expanded.code != "NXDOMAIN":
                told.setdefault(one.suffix, {})[node] = one.expanded
    for suffix, by_node in told.items():
        yield _poisoned(evidence, suffix, by_node)


def _poisoned(evidence: Evidence, suffix: str, by_node: Mapping[str, DnsAnswer]) -> Finding:
    answer = next(iter(by_node.values()))
    hit = [
        (node, name)
        for node, name in iter_name_views(evidence)
        if node in by_node
        and any(step.suffix == suffix and step.musl in {"stops", "finds"} for step in name.steps)
    ]
    cause, why = _words(suffix, answer)
    shown = [f"a made-up name under {suffix}: {describe_answer(answer)} ({on_nodes(by_node)})"]
    if hit:
        shown += _heard(evidence, hit[0][1].name, set(by_node))
    return Finding(
        check="dns.search-domains",
        severity=Severity.ERROR if hit else Severity.WARNING,
        cause=cause,
        nodes=tuple(by_node),
        evidence=tuple(shown),
        why=why,
        table=_table(*hit[0]) if hit else None,
        remedies=_mends(suffix, _without_list([name for _, name in hit])),
    )


def _words(suffix: str, answer: DnsAnswer) -> tuple[str, str]:
    if answer.addresses:
        return (
            f"search domain {suffix} answers every name under it with {answer.addresses[0]}",
            "Every program tries a name in the search domains first, finds that address there, "
            "and talks to the wrong host.",
        )
    if answer.code == "NOERROR":
        return (
            f"search domain {suffix} is poisoned: it answers NOERROR with no address to every "
            f"name under it. This is the cause of `{_FIELD}`",
            "A name with fewer than ndots dots is tried in every search domain before it is tried "
            "as it is (pods have ndots 5). "
            "musl (static programs such as uv, Alpine images) takes that empty answer for the "
            "last word and gives up; older ones say `Name does not resolve`. "
            "glibc (curl, apt, python on Debian) goes on to the name itself, and busybox nslookup "
            "never tries the search domains: both find it. "
            "The domain comes from /etc/resolv.conf of the nodes, pods inherit it.",
        )
    return (
        f"search domain {suffix} answers {describe_answer(answer)} to names that do not exist",
        "musl programs (static uv, Alpine images) give up there with `Try again`; glibc programs "
        "go on to the name itself, after waiting where there is no answer.",
    )


def _heard(evidence: Evidence, name: str, nodes: set[str]) -> list[str]:
    """What the real programs said; nodes that heard the same share a line."""
    lines: dict[str, list[str]] = {}
    seen = 0
    for node, view in iter_name_views(evidence):
        if view.name == name and node in nodes:
            seen += 1
            for program in view.programs:
                if program.outcome != "absent":
                    lines.setdefault(quote_program(program), []).append(node)
    return [
        line if len(heard) == seen else f"{line} ({on_nodes(heard)})"
        for line, heard in lines.items()
    ]


def _table(node: str, name: NameView) -> Table:
    return Table(
        title=f"how a pod on {node} looks for {name.name}",
        columns=("name tried", "answer", "musl (uv)", "glibc (curl)"),
        rows=tuple(
            (step.tried, describe_answers(step.a, step.aaaa), step.musl, step.glibc)
            for step in name.steps
        ),
    )


def _without_list(names: list[NameView]) -> str:
    """Whether a name tried as it is gets further: what ndots 1 does, tried with a final dot."""
    tried = [
        one
        for name in names
        for one in name.programs
        if one.libc == "musl" and one.asked.endswith(".") and one.outcome != "absent"
    ]
    if not tried:
        return ""
    if all(one.outcome in {"connects", "resolves"} for one in tried):
        return f" Tried here: {tried[0].program} then reaches {names[0].name}."
    if any(one.outcome in GAVE_UP for one in tried):
        return ""
    return (
        f" Tried here: {tried[0].program} then resolves {names[0].name}, but does not get there "
        "yet; the findings below say why."
    )


def _mends(suffix: str, tried: str) -> tuple[Remedy, ...]:
    return (
        remedies.set_ndots("Let one workload try names as they are first (ndots 1)." + tried),
        remedies.USE_MIRROR,
        Remedy(
            text=f"Let CoreDNS say NXDOMAIN to the names that search lists make under {suffix}.",
            scope="cluster",
            command=remedies.FIX_SEARCH_DOMAINS_COMMAND,
            side_effect=f"hosts a.b.{suffix} no longer resolve in pods (host.{suffix} still do; "
            "--keep-name NAME leaves others out)",
        ),
        Remedy(
            text=f"Take {suffix} out of the search list on every node (netplan, DHCP client, "
            "systemd-resolved), then restart the kubelets and the pods.",
            scope="nodes",
            side_effect="the nodes' own short names under it stop resolving",
        ),
    )


def check_programs(evidence: Evidence) -> Iterator[Finding]:
    """musl gives a name up that glibc finds, and no search domain explains it."""
    for node, name in iter_name_views(evidence):
        if any(step.suffix and step.musl in {"stops", "finds"} for step in name.steps):
            continue  # dns.search-domains says it
        gave_up = [one for one in name.programs if one.libc == "musl" and one.outcome in GAVE_UP]
        found = [one for one in name.programs if one.libc == "glibc" and one.outcome == "resolves"]
        if gave_up and found:
            yield Finding(
                check="dns.programs",
                severity=Severity.WARNING,
                cause=f"{gave_up[0].program} cannot resolve {name.name} on {node}, glibc can",
                nodes=(node,),
                evidence=tuple(quote_program(one) for one in name.programs),
                why="A server that answers one question and not the other (A and AAAA), or not "
                "always: musl gives up at the first bad answer.",
                table=_table(node, name),
                remedies=(remedies.USE_MIRROR,),
            )
