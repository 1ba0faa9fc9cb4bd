"""The names to probe, as they are given on a command line."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = r"[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,200}}\Z){_LABEL}(\.{_LABEL})*\.?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEndpoint:
    """The name of a package index, and the port it listens on."""

    name: str
    port: int = 443


def parse_endpoint(text: str) -> IndexEndpoint:
    """Read HOST or HOST:PORT. Raises ValueError, which argparse shows."""
    name, colon, port = text.partition(":")
    if not _NAME.match(name):
        raise ValueError(f"not a DNS name: {name!r}")
    return IndexEndpoint(name=name, port=int(port) if colon else 443)
