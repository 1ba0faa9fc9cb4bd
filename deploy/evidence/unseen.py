"""Evidence that could not be collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Stands for evidence that could not be collected; a check never reports it as "ok"."""

    reason: str  # e.g. a missing permission, or no image for probe pods


MaybeSeen: TypeAlias = T | Unseen

NOT_COLLECTED = Unseen(reason="no check asked for it")


def require_seen(value: MaybeSeen[T]) -> T:
    """Return the evidence, which was seen: a check only runs if everything it needs was."""
    if isinstance(value, Unseen):
        raise LookupError(f"evidence is missing: {value.reason}")
    return value
