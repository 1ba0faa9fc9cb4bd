"""What goes wrong with chosen requests: errors, kills, other writers in between."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.kubernetes_api.errors import KilledError, StatusError
from tests.kubernetes_api.requests import ApiRequest

When = Literal["before", "after"]
Match = Callable[[ApiRequest], bool]


@dataclass(slots=True)
class _Failure:
    match: Match
    when: When
    action: Callable[[ApiRequest], None]
    times: int | None  # None: always


class Failures:
    """Failures of requests. ``before`` means that the request has no effect."""

    def __init__(self) -> None:
        self._failures: list[_Failure] = []
        self.killed = False
        self.on_kill: Callable[[], None] = lambda: None  # e.g. sends SIGKILL to the client

    def kill_at_write(self, number: int, when: When = "before") -> None:
        """End the client at its ``number``th write from now on (the first is 1).

        From then on, nothing of the client arrives: neither its `finally` blocks nor its threads.
        In this process, every request raises KilledError; over HTTP, the connection is closed.
        """
        count = itertools.count(1)
        self.add(lambda request: request.is_write and next(count) == number, self._kill, when)

    def kill(self, match: Match, when: When = "before") -> None:
        """End the client at the first request that matches."""
        self.add(match, self._kill, when)

    def revive(self) -> None:
        """Let a new client begin, without any failures."""
        self.killed = False
        self._failures.clear()

    def refuse(
        self,
        match: Match,
        status: int = 500,
        reason: str = "InternalError",
        *,
        message: str = "refused by the test",
        times: int | None = 1,
        when: When = "before",
    ) -> None:
        """Respond with an error; after the request if it is to have its effect."""

        def respond(request: ApiRequest) -> None:
            raise StatusError(status, reason, message)

        self.add(match, respond, when, times=times)

    def run(
        self,
        match: Match,
        action: Callable[[ApiRequest], None],
        when: When = "before",
        *,
        times: int | None = 1,
    ) -> None:
        """Run an action, e.g. one that writes as somebody else, or that waits for an event."""
        self.add(match, action, when, times=times)

    def add(
        self,
        match: Match,
        action: Callable[[ApiRequest], None],
        when: When,
        *,
        times: int | None = 1,
    ) -> None:
        self._failures.append(_Failure(match, when, action, times))

    def apply(self, request: ApiRequest, when: When) -> None:
        """Run what is planned for a request. The API calls it."""
        if self.killed:
            raise KilledError(str(request))
        for failure in list(self._failures):
            if failure.when != when or failure.times == 0 or not failure.match(request):
                continue
            if failure.times is not None:
                failure.times -= 1
            failure.action(request)

    def _kill(self, request: ApiRequest) -> None:
        self.killed = True
        self.on_kill()
        raise KilledError(str(request))


def on(methods: str, path: str = "*") -> Match:
    """Return a match for methods ("PUT PATCH", "*") and a path pattern; dry runs are not meant."""
    return lambda request: request.matches(methods, path) and not request.dry_run
