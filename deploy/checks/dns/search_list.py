"""The search list: domains that answer where they should not, and the programs that fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from deploy.checks.dns.wording import (
    GAVE_UP,
    describe_answer,
    describe_answers,
    iter_answered_views,
    iter_name_views,
    quote_program,
)
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.findings import remedies
from deploy.findings.model import (
    SEEN,
    Finding,
    Remedy,
    Severity,
    Table,
    check,
    report,
    warning,
)
from deploy.findings.phrases import join_names, on_nodes
from mirror.probe.model import DnsAnswer, NameView, ProgramRun

_UV_ERROR = "failed to lookup address information: Name has no usable address"
_STOPPED = {"stops", "finds"}  # musl does not get to the name itself


@check(
    "dns.search-domains", "no search domain answers for names that do not exist", SEEN, Need.POD_DNS
)
def check_search_domains(evidence: Evidence) -> Iterator[Finding]:
    domains: dict[str, dict[str, DnsAnswer]] = {}
    for node, view in iter_answered_views(evidence):
        for suffix in view.suffixes:
            if suffix.expanded.code != "NXDOMAIN":
                domains.setdefault(suffix.suffix, {})[node] = suffix.expanded
    for domain, answers in domains.items():
        yield _report_domain(evidence, domain, answers)


def _report_domain(evidence: Evidence, domain: str, answers: Mapping[str, DnsAnswer]) -> Finding:
    """Report one domain; ``answers`` has the answer that each affected node got."""
    answer = next(iter(answers.values()))
    affected = [
        (node, view)
        for node, view in iter_name_views(evidence)
        if node in answers
        and any(step.suffix == domain and step.musl in _STOPPED for step in view.steps)
    ]
    cause, why = _explain(domain, answer)
    lines = [f"a made-up name under {domain}: {describe_answer(answer)} ({on_nodes(answers)})"]
    if affected:
        lines += _quote_programs(evidence, affected[0][1].name, set(answers))
    ndots_views = [view for _, view in affected]
    others = [
        remedies.set_ndots(test_result=_describe_ndots_result(ndots_views)),
        Remedy(
            f"Let CoreDNS answer NXDOMAIN for the names that search lists create under {domain}.",
            "cluster",
            "mirror fix search-domains",
            side_effect=f"hosts a.b.{domain} no longer resolve in pods (host.{domain} still does; "
            "--keep-name NAME excludes others)",
        ),
        Remedy(
            f"Remove {domain} from the search list on every node (netplan, DHCP client, "
            "systemd-resolved), then restart the kubelets and the pods.",
            "nodes",
            side_effect="the nodes' own short names under it no longer resolve",
        ),
    ]
    if _resolves_in_vain(ndots_views):
        # the mirror needs no name; the others only make names resolve
        offered = [remedies.USE_MIRROR, *(replace(each, insufficient=True) for each in others)]
    else:
        offered = [others[0], remedies.USE_MIRROR, *others[1:]]
    return report(
        Severity.ERROR if affected else Severity.WARNING,
        cause,
        *offered,
        nodes=answers,
        evidence=lines,
        why=why,
        table=_build_table(*affected[0]) if affected else None,
    )


def _explain(domain: str, answer: DnsAnswer) -> tuple[str, str]:
    """Return the cause and the explanation."""
    if answer.addresses:
        return (
            f"search domain {domain} answers every name under it with {answer.addresses[0]}",
            "Programs try a name in the search domains first. They get that address and connect "
            "to the wrong host.",
        )
    if answer.code == "NOERROR":
        return (
            f"search domain {domain} is poisoned: it answers NOERROR with no address to every "
            f"name under it. This is the cause of `{_UV_ERROR}`",
            "A name with fewer dots than ndots (5 in pods) is tried in every search domain before "
            "it is tried as it is. musl (static programs such as uv, Alpine images) accepts the "
            "empty answer as final and gives up; older versions report `Name does not resolve`. "
            "glibc (curl, apt, python on Debian) goes on to the name itself, and busybox nslookup "
            "does not try the search domains: both resolve it. The domain comes from "
            "/etc/resolv.conf of the nodes; pods inherit it.",
        )
    return (
        f"search domain {domain} answers {describe_answer(answer)} to names that do not exist",
        "musl programs (static uv, Alpine images) give up at this answer with `Try again`. glibc "
        "programs go on to the name itself, after a timeout if there was no answer.",
    )


def _quote_programs(evidence: Evidence, name: str, nodes: set[str]) -> list[str]:
    """Return what the real programs printed; nodes with the same output share a line."""
    nodes_by_line: dict[str, list[str]] = {}
    node_count = 0
    for node, view in iter_name_views(evidence):
        if view.name == name and node in nodes:
            node_count += 1
            for run in view.programs:
                if run.outcome != "absent":
                    nodes_by_line.setdefault(quote_program(run), []).append(node)
    return [
        line if len(line_nodes) == node_count else f"{line} ({on_nodes(line_nodes)})"
        for line, line_nodes in nodes_by_line.items()
    ]


def _build_table(node: str, view: NameView) -> Table:
    return Table(
        title=f"how a pod on {node} looks up {view.name}",
        columns=("name tried", "answer", "musl (uv)", "glibc (curl)"),
        rows=tuple(
            (step.tried, describe_answers(step.a, step.aaaa), step.musl, step.glibc)
            for step in view.steps
        ),
    )


def _list_ndots_runs(views: list[NameView]) -> list[tuple[NameView, ProgramRun]]:
    """Return what musl programs did with the name with a trailing dot: it skips the search list."""
    return [
        (view, run)
        for view in views
        for run in view.programs
        if run.libc == "musl" and run.asked.endswith(".") and run.outcome != "absent"
    ]


def _resolves_in_vain(views: list[NameView]) -> bool:
    """Whether a program without the search list resolves the name, and still does not connect."""
    outcomes = [run.outcome for _, run in _list_ndots_runs(views)]
    reached = all(outcome in {"connects", "resolves"} for outcome in outcomes)
    return bool(outcomes) and not reached and not any(each in GAVE_UP for each in outcomes)


def _describe_ndots_result(views: list[NameView]) -> str:
    runs = _list_ndots_runs(views)
    if not runs or any(run.outcome in GAVE_UP for _, run in runs):
        return ""
    view, run = runs[0]
    if _resolves_in_vain(views):
        return f" Tried here: {run.program} then resolves {view.name}, but does not connect."
    return f" Tried here: {run.program} then reaches {view.name}."


@check("dns.search-root", "no search list contains the root domain", SEEN, Need.POD_DNS)
def check_search_root(evidence: Evidence) -> Iterator[Finding]:
    views = dict(iter_probe_views(evidence))
    nodes = [node for node, view in views.items() if view.resolv_conf.searches_root]
    if nodes:
        yield warning(
            f"the search list of pods on {join_names(nodes)} contains the root domain (`search .`)",
            remedies.set_ndots(),
            Remedy(
                "Remove the `.` from `search` in /etc/resolv.conf of these nodes (systemd-resolved "
                "writes it where DHCP gives no domain: set Domains= or a resolv.conf of its own "
                "for the kubelet with resolvConf), then restart the kubelets and the pods.",
                "nodes",
            ),
            nodes=nodes,
            evidence=("search . in /etc/resolv.conf of a pod",),
            why="musl before 1.2.4 (Alpine up to 3.17) builds the invalid name `NAME..` from it "
            "and gives up: nothing resolves in such images. glibc and newer musl ignore it.",
        )


@check(
    "dns.programs", "musl, glibc and busybox programs resolve the same names", SEEN, Need.POD_DNS
)
def check_programs(evidence: Evidence) -> Iterator[Finding]:
    names: dict[str, dict[str, NameView]] = {}
    for node, view in iter_name_views(evidence):
        if any(step.suffix and step.musl in _STOPPED for step in view.steps):
            continue  # dns.search-domains reports it
        resolved = any(run.libc == "glibc" and run.outcome == "resolves" for run in view.programs)
        if resolved and _list_given_up(view):
            names.setdefault(view.name, {})[node] = view
    for name, views in names.items():
        node, view = next(iter(views.items()))
        own = next(step for step in view.steps if not step.suffix)
        denies_aaaa = bool(own.a.addresses) and own.aaaa.code != "NOERROR"
        yield warning(
            f"{_list_given_up(view)[0].program} cannot resolve {name} {on_nodes(views)}, glibc can",
            remedies.USE_MIRROR,
            *([remedies.FILTER_IPV6_ANSWERS] if denies_aaaa else []),
            nodes=views,
            evidence=(quote_program(run) for run in view.programs),
            why=f"The answer to AAAA is {describe_answer(own.aaaa)}, although the name exists, and "
            "musl gives up at it. A `template` of CoreDNS, or the server it forwards to, answers "
            "so; without an IPv6 address it should be NOERROR."
            if denies_aaaa
            else "A DNS server answers only one of the two questions (A and AAAA), or does not "
            "always answer: musl gives up at the first bad answer.",
            table=_build_table(node, view),
        )


def _list_given_up(view: NameView) -> list[ProgramRun]:
    return [run for run in view.programs if run.libc == "musl" and run.outcome in GAVE_UP]
