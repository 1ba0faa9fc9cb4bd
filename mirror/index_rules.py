"""Which public packages a mirror serves: its upstreams, and the pins of projects to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirror.upstreams import parse_upstreams


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRules:
    """Settings of `mirror up` as they were typed; empty ones are those of a plain mirror."""

    upstreams: Sequence[str] = ()  # URL, NAME=URL or default, in the order of asking
    pins: Sequence[str] = ()  # PROJECT=UPSTREAM

    def __post_init__(self) -> None:
        parse_upstreams(self.upstreams, self.pins)

    @property
    def are_plain(self) -> bool:
        """Whether there is one upstream, and nothing of it is hidden."""
        return not (self.upstreams or self.pins)

    def build_options(self) -> tuple[str, ...]:
        """Return them as options of mirror.cache."""
        options = (("--upstream", self.upstreams), ("--pin", self.pins))
        return tuple(f"{name}={value}" for name, values in options for value in values)


NO_RULES = IndexRules()
