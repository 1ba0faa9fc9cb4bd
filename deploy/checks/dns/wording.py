"""Helpers of the DNS checks: the views that got answers, and descriptions of answers."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.evidence.model import Evidence
from deploy.evidence.probe_views import iter_probe_views
from mirror.probe.model import DnsAnswer, NameView, PodDns, ProgramRun

GAVE_UP = frozenset({"no-address", "no-name", "try-again"})
_NO_ANSWER = frozenset({"TIMEOUT", "UNREACHABLE"})
_CODES = {
    "NOERROR": "NOERROR, but no address",
    "NXDOMAIN": "no such name (NXDOMAIN)",
    "TIMEOUT": "no answer",
}


def is_silent(view: PodDns) -> bool:
    """Whether DNS answered none of a pod's questions; only dns.answers reports such a node."""
    answers = [
        answer for name in view.names for step in name.steps for answer in (step.a, step.aaaa)
    ]
    return bool(answers) and all(answer.code in _NO_ANSWER for answer in answers)


def iter_answered_views(evidence: Evidence) -> Iterator[tuple[str, PodDns]]:
    """Yield (node, view) for every node whose pod was seen and got answers."""
    for node, view in iter_probe_views(evidence):
        if not is_silent(view):
            yield node, view


def iter_name_views(evidence: Evidence) -> Iterator[tuple[str, NameView]]:
    """Yield (node, view of a name) for every name on every such node."""
    for node, view in iter_answered_views(evidence):
        for name in view.names:
            yield node, name


def describe_answer(answer: DnsAnswer) -> str:
    """Return an answer in a few words."""
    if answer.addresses:
        return ", ".join(answer.addresses)
    return _CODES.get(answer.code, answer.code)


def describe_answers(a: DnsAnswer, aaaa: DnsAnswer) -> str:
    """Return the answers to A and AAAA; only one of them if they are the same."""
    if describe_answer(a) == describe_answer(aaaa):
        return describe_answer(a)
    if a.addresses and aaaa.addresses:
        return f"{describe_answer(a)}, {describe_answer(aaaa)}"
    return f"A: {describe_answer(a)}; AAAA: {describe_answer(aaaa)}"


def quote_program(run: ProgramRun) -> str:
    """Return what a program printed about a name."""
    libc = f" ({run.libc})" if run.libc not in {"own", run.program.split()[0]} else ""
    option = ", without the search list" if run.asked.endswith(".") else ""
    return f"{run.program}{libc}{option}: {run.text or run.outcome}"
