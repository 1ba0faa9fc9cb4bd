"""Waits until DNS answers as it should, asked from here: how a change of DNS is proved."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from mirror.core.errors import WaitTimeout
from mirror.core.wait import Deadline, until
from mirror.probe.model import Answer
from mirror.probe.wire import AAAA, A, ask

_IN_A_ROW = 2  # servers behind one address may take a change up one after the other
_KINDS = {"A": A, "AAAA": AAAA}

Wanted: TypeAlias = Literal["empty", "NXDOMAIN", "exists"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """empty: NOERROR without addresses; exists: with some."""

    name: str
    qtype: str
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmet:
    """An answer that is not the wanted one."""

    server: str
    name: str
    qtype: str
    wanted: str
    code: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How the waiting ended: nothing is unmet where all came true."""

    unmet: tuple[Unmet, ...]


def question(text: str) -> Question:
    """NAME/QTYPE/WANTED. Raises ValueError, which argparse shows."""
    name, qtype, wanted = text.split("/")
    if qtype not in _KINDS or wanted not in {"empty", "NXDOMAIN", "exists"}:
        raise ValueError(text)
    return Question(name=name, qtype=qtype, wanted=wanted)  # type: ignore[arg-type]


def expect(
    questions: Iterable[Question], servers: Iterable[str], seconds: float, port: int = 53
) -> Expected:
    """Ask every server every question until all answers are as wanted, several times in a row."""
    asked = [(server, one) for server in servers for one in questions]
    row, unmet = 0, list[Unmet]()

    def look() -> bool:
        nonlocal row, unmet
        with ThreadPoolExecutor(16) as pool:
            told = pool.map(partial(_ask, port), asked)
            unmet = [one for one in told if one is not None]
        row = 0 if unmet else row + 1
        return row >= _IN_A_ROW

    with suppress(WaitTimeout):
        until(look, deadline=Deadline.after(seconds), what="answers", interval=0.3, ceiling=1.0)
    return Expected(unmet=tuple(unmet))


def _ask(port: int, asked: tuple[str, Question]) -> Unmet | None:
    server, one = asked
    told = ask((server,), one.name.rstrip(".") + ".", _KINDS[one.qtype], port=port)
    if met(told, one.wanted):
        return None
    return Unmet(
        server=server,
        name=one.name,
        qtype=one.qtype,
        wanted=one.wanted,
        code=told.code,
        addresses=told.addresses,
    )


def met(told: Answer, wanted: Wanted) -> bool:
    """Whether an answer is what was wanted."""
    if wanted == "NXDOMAIN":
        return told.code == "NXDOMAIN"
    return told.code == "NOERROR" and bool(told.addresses) == (wanted == "exists")
