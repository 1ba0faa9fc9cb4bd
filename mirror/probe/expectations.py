"""Waits until DNS servers give the expected answers, which proves that a DNS change works."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from mirror.core.codec import json_key
from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.probe.dns_query import QTYPES, query
from mirror.probe.model import AnswerKind, DnsAnswer, ExpectedAnswer

_IN_A_ROW = 2  # rounds: servers behind one address may pick a change up one after the other
_THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetExpectation:
    """An answer that differs from the expected one."""

    server: str
    name: str
    qtype: str
    expected: str = field(metadata=json_key("wanted"))
    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationReport:
    """What was still unmet when the wait ended; empty after success."""

    unmet: tuple[UnmetExpectation, ...]


def parse_expectation(text: str) -> ExpectedAnswer:
    """Read NAME/QTYPE/ANSWER. Raises ValueError, which argparse shows."""
    name, qtype, answer = text.split("/")
    if qtype not in QTYPES or answer not in get_args(AnswerKind):
        raise ValueError(text)
    return ExpectedAnswer(name=name, qtype=qtype, answer=answer)  # type: ignore[arg-type]


def wait_for_answers(
    expectations: Iterable[ExpectedAnswer], servers: Iterable[str], seconds: float, port: int = 53
) -> ExpectationReport:
    """Query every server for every name until all answers are the expected ones, twice in a row.

    Gives up after ``seconds`` and returns what the last round found.
    """
    expectations = tuple(expectations)
    queries = [(server, expected) for server in servers for expected in expectations]
    rounds, unmet = 0, list[UnmetExpectation]()

    def query_all() -> bool:
        nonlocal rounds, unmet
        with ThreadPoolExecutor(_THREADS) as pool:
            results = pool.map(partial(_check, port), queries)
            unmet = [result for result in results if result is not None]
        rounds = 0 if unmet else rounds + 1
        return rounds >= _IN_A_ROW

    with suppress(WaitTimeout):
        deadline = Deadline.after(seconds)
        wait_until(query_all, deadline=deadline, what="answers", interval=0.3, max_interval=1.0)
    return ExpectationReport(unmet=tuple(unmet))


def _check(port: int, server_query: tuple[str, ExpectedAnswer]) -> UnmetExpectation | None:
    server, expected = server_query
    answer = query((server,), expected.name.rstrip(".") + ".", QTYPES[expected.qtype], port=port)
    if is_met(answer, expected.answer):
        return None
    return UnmetExpectation(
        server=server,
        name=expected.name,
        qtype=expected.qtype,
        expected=expected.answer,
        code=answer.code,
        addresses=answer.addresses,
    )


def is_met(answer: DnsAnswer, expected: AnswerKind) -> bool:
    """Whether an answer is the expected one."""
    if expected == "NXDOMAIN":
        return answer.code == "NXDOMAIN"
    return answer.code == "NOERROR" and bool(answer.addresses) == (expected == "exists")
