"""Waits until DNS answers as it should, asked from here: how a change of DNS is proved."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.probe.dns_query import AAAA, A, query
from mirror.probe.model import DnsAnswer

_IN_A_ROW = 2  # servers behind one address may take a change up one after the other
_KINDS = {"A": A, "AAAA": AAAA}

ExpectedAnswer: TypeAlias = Literal["empty", "NXDOMAIN", "exists"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsExpectation:
    """empty: NOERROR without addresses; exists: with some."""

    name: str
    qtype: str
    expected: ExpectedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmetExpectation:
    """An answer that is not the wanted one."""

    server: str
    name: str
    qtype: str
    wanted: str
    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationReport:
    """How the waiting ended: nothing is unmet where all came true."""

    unmet: tuple[UnmetExpectation, ...]


def parse_expectation(text: str) -> DnsExpectation:
    """NAME/QTYPE/WANTED. Raises ValueError, which argparse shows."""
    name, qtype, wanted = text.split("/")
    if qtype not in _KINDS or wanted not in {"empty", "NXDOMAIN", "exists"}:
        raise ValueError(text)
    return DnsExpectation(name=name, qtype=qtype, expected=wanted)  # type: ignore[arg-type]


def wait_for_answers(
    expectations: Iterable[DnsExpectation], servers: Iterable[str], seconds: float, port: int = 53
) -> ExpectationReport:
    """Ask every server every question until all answers are as wanted, several times in a row."""
    asked = [(server, one) for server in servers for one in expectations]
    row, unmet = 0, list[UnmetExpectation]()

    def look() -> bool:
        nonlocal row, unmet
        with ThreadPoolExecutor(16) as pool:
            told = pool.map(partial(_ask, port), asked)
            unmet = [one for one in told if one is not None]
        row = 0 if unmet else row + 1
        return row >= _IN_A_ROW

    with suppress(WaitTimeout):
        wait_until(
            look, deadline=Deadline.after(seconds), what="answers", interval=0.3, max_interval=1.0
        )
    return ExpectationReport(unmet=tuple(unmet))


def _ask(port: int, asked: tuple[str, DnsExpectation]) -> UnmetExpectation | None:
    server, one = asked
    told = query((server,), one.name.rstrip(".") + ".", _KINDS[one.qtype], port=port)
    if is_met(told, one.expected):
        return None
    return UnmetExpectation(
        server=server,
        name=one.name,
        qtype=one.qtype,
        wanted=one.expected,
        code=told.code,
        addresses=told.addresses,
    )


def is_met(told: DnsAnswer, wanted: ExpectedAnswer) -> bool:
    """Whether an answer is what was wanted."""
    if wanted == "NXDOMAIN":
        return told.code == "NXDOMAIN"
    return told.code == "NOERROR" and bool(told.addresses) == (wanted == "exists")
