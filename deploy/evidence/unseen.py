"""Evidence that could not be collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What could not be looked at, and why: a missing right, no probe image. Never "ok"."""

    reason: str


MaybeSeen: TypeAlias = T | Unseen

NOT_COLLECTED = Unseen(reason="no check asked for it")


def require_seen(value: MaybeSeen[T]) -> T:
    """The thing itself, for a check: the runner calls no check whose needs are unseen."""
    if isinstance(value, Unseen):
        raise LookupError(f"looked at without having been seen: {value.reason}")
    return value
