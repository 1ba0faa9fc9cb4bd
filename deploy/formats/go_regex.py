"""Regular expressions of programs in Go, whose syntax differs from Python's in rare cases."""

from __future__ import annotations

import re


def matches(pattern: str, text: str) -> bool:
    """Return whether the pattern is found in the text; False if Python cannot compile it."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False
