"""What the checks of DNS share: nodes that were seen, and evidence put into words."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from mirror.probe.model import DnsAnswer, NameView, PodDns, ProgramRun

_SILENT = frozenset({"TIMEOUT", "UNREACHABLE"})
GAVE_UP = frozenset({"no-address", "no-name", "try-again"})


def is_silent(view: PodDns) -> bool:
    """Whether not one question was answered: dns.answers says so, nothing else can be said."""
    told = [one for name in view.names for step in name.steps for one in (step.a, step.aaaa)]
    return bool(told) and all(one.code in _SILENT for one in told)


def iter_answered_views(evidence: Evidence) -> Iterator[tuple[str, PodDns]]:
    """The nodes whose pods could be seen and get answers."""
    for node, view in iter_probe_views(evidence):
        if not is_silent(view):
            yield node, view


def iter_name_views(evidence: Evidence) -> Iterator[tuple[str, NameView]]:
    """Node and name, for every name of every seen node."""
    for node, view in iter_answered_views(evidence):
        for name in view.names:
            yield node, name


def describe_answer(answer: DnsAnswer) -> str:
    """An answer in a few words."""
    if answer.addresses:
        return ", ".join(answer.addresses)
    return {
        "NOERROR": "NOERROR, but no address",
        "NXDOMAIN": "no such name (NXDOMAIN)",
        "TIMEOUT": "no answer",
    }.get(answer.code, answer.code)


def describe_answers(a: DnsAnswer, aaaa: DnsAnswer) -> str:
    """The answers to A and AAAA, once where they say the same."""
    if describe_answer(a) == describe_answer(aaaa):
        return describe_answer(a)
    if a.addresses and aaaa.addresses:
        return f"{describe_answer(a)}, {describe_answer(aaaa)}"
    return f"A: {describe_answer(a)}; AAAA: {describe_answer(aaaa)}"


def quote_program(program: ProgramRun) -> str:
    """What a program made of the name, in its own words."""
    libc = f" ({program.libc})" if program.libc not in {"own", program.program.split()[0]} else ""
    alone = ", told to leave the search list out" if program.asked.endswith(".") else ""
    return f"{program.program}{libc}{alone}: {program.text or program.outcome}"
