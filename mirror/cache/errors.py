"""Errors of the cache; each becomes an HTTP response to the client."""

from __future__ import annotations


class UnavailableError(Exception):
    """The page or file is not available now; ``status`` is the response's status, never 404."""

    status = 503
    retry_after = 5.0  # seconds until the client should try again


class UpstreamUnavailableError(UnavailableError):
    """The upstream does not respond or reports a failure of its own; this affects all pages."""


class UpstreamResponseError(UnavailableError):
    """The upstream refuses this page or file, or sends something else in its place."""

    status = 502


class RateLimitedError(UnavailableError):
    """The upstream refuses this page or file for a while; this says nothing about others."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after or UnavailableError.retry_after


class InvalidPageError(UpstreamResponseError):
    """The response is not a page of the simple API, e.g. a captive portal's login page."""


class NotFoundError(Exception):
    """The upstream has no such project or file."""


class PolicyError(Exception):
    """A rule of the mirror hides this project or file; ``rule`` is min-age, allow or deny."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule
