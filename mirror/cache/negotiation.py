"""Choose the form of a page by the Accept header (RFC 9110, PEP 691)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mirror.settings import SIMPLE_JSON
from mirror.volume import PageKind

_TYPES: Mapping[PageKind, tuple[str, ...]] = {
    "json": (SIMPLE_JSON, "application/vnd.pypi.simple.latest+json"),
    "html": (
        "text/html",
        "application/vnd.pypi.simple.v1+html",
        "application/vnd.pypi.simple.latest+html",
    ),
}


def choose_form(accept: str) -> PageKind:
    """Return the form that a client prefers; HTML if it prefers none, or accepts neither."""
    ranges = list(_parse_ranges(accept))
    json, html = (_rate(ranges, _TYPES[kind]) for kind in ("json", "html"))
    is_exact = json[1] == 2
    return "json" if json[0] > 0 and (json > html or (json == html and is_exact)) else "html"


def _rate(ranges: list[tuple[str, float]], types: tuple[str, ...]) -> tuple[float, int]:
    """Return the quality of a form, and how exactly the header names it (0 to 2).

    Only the first type may match a range such as ``text/*``: the others are aliases.
    """
    best = (0.0, 0)
    for number, content_type in enumerate(types):
        group = f"{content_type.partition('/')[0]}/*"
        for exactness, name in ((2, content_type), (1, group), (0, "*/*")):
            qualities = [quality for media, quality in ranges if media == name]
            if qualities and (exactness == 2 or number == 0):
                best = max(best, (max(qualities), exactness))
            if qualities:
                break
    return best


def _parse_ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield the media ranges of the header in lower case, each with its quality."""
    for entry in accept.lower().split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = _parse_quality(value.strip())
        if media:
            yield media, quality


def _parse_quality(text: str) -> float:
    """Return a number from 0 to 1; 0 for anything else."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
