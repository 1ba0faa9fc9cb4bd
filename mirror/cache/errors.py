"""What keeps a page or a file from being had; each is an answer to a client."""

from __future__ import annotations


class UnavailableError(Exception):
    """It cannot be had now; ``status`` is what the client is answered, never 404."""

    status = 503


class UpstreamUnavailableError(UnavailableError):
    """The upstream does not answer, or says that it is unwell: all its pages are concerned."""

    status = 503


class UpstreamResponseError(UnavailableError):
    """The upstream refuses this one thing, or answers what is no page or not the file."""

    status = 502


class InvalidPageError(UpstreamResponseError):
    """The upstream's answer is no page of the simple API: a captive portal, garbage."""


class NotFoundError(Exception):
    """The upstream says that there is no such thing."""
