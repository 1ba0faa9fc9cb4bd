"""Which public packages a mirror serves: its upstreams, pins to them, and its policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirror.policy import Policy, parse_age, parse_rule
from mirror.upstreams import parse_upstreams


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRules:
    """Settings of `mirror up` as they were typed; empty ones are those of a plain mirror."""

    upstreams: Sequence[str] = ()  # URL, NAME=URL or default, in the order of asking
    pins: Sequence[str] = ()  # PROJECT=UPSTREAM
    min_age: str | None = None  # such as 7d
    allow: Sequence[str] = ()
    deny: Sequence[str] = ()

    def __post_init__(self) -> None:
        parse_upstreams(self.upstreams, self.pins)
        _ = self.policy

    @property
    def policy(self) -> Policy:
        return Policy(
            min_age=parse_age(self.min_age or "0"),
            allow=tuple(map(parse_rule, self.allow)),
            deny=tuple(map(parse_rule, self.deny)),
        )

    @property
    def are_plain(self) -> bool:
        """Whether there is one upstream, and nothing of it is hidden."""
        return not (self.upstreams or self.pins) and self.policy.is_empty

    def build_options(self) -> tuple[str, ...]:
        """Return them as options of mirror.cache."""
        options = (
            ("--upstream", self.upstreams),
            ("--pin", self.pins),
            ("--min-age", (self.min_age,) if self.min_age else ()),
            ("--allow", self.allow),
            ("--deny", self.deny),
        )
        return tuple(f"{name}={value}" for name, values in options for value in values)


NO_RULES = IndexRules()
