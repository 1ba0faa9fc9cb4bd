"""Keep the packages of a lock that chosen extras and groups need.

Locks of several tools put the choice into markers: `"lint" in dependency_groups`,
`extra == "redis"`. Other markers are left to the Python that installs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from packaging.utils import canonicalize_name

from mirror.lock import PinnedDistribution

# true and false in every environment
_TRUE, _FALSE = "python_version >= '0'", "python_version < '0'"
_CHOICE = re.compile(
    r"""(?P<q>['"])(?P<member>[^'"]*)(?P=q)\s+(?P<not>not\s+)?in\s+(?P<set>extras|dependency_groups)"""
    r"""|extra\s*(?P<op>==|!=)\s*(?P<r>['"])(?P<extra>[^'"]*)(?P=r)"""
)


def select_pins(
    pins: Iterable[PinnedDistribution], extras: Collection[str], groups: Collection[str]
) -> Iterator[PinnedDistribution]:
    """Yield the pins that apply with these extras and groups; their markers lose the choice."""
    for pin in pins:
        marker = select_marker(pin.marker, extras, groups)
        if marker is not None:
            yield replace(pin, marker=marker)


def select_marker(marker: str, extras: Collection[str], groups: Collection[str]) -> str | None:
    """Return a marker with the choice decided: "" if it always holds, None if it never does."""
    if not _CHOICE.search(marker):
        return marker
    known_extras = {canonicalize_name(name) for name in extras}
    known_groups = {canonicalize_name(name) for name in groups}

    def decide(match: re.Match[str]) -> str:
        if match["extra"] is not None:
            is_true = (canonicalize_name(match["extra"]) in known_extras) == (match["op"] == "==")
        else:
            chosen = known_extras if match["set"] == "extras" else known_groups
            is_true = (canonicalize_name(match["member"]) in chosen) != bool(match["not"])
        return _TRUE if is_true else _FALSE

    return _simplify(_CHOICE.sub(decide, marker))


def _simplify(marker: str) -> str | None:
    """Remove constants from a marker, as far as parentheses allow."""
    previous = ""
    text = marker.replace('"0"', "'0'")
    true, false = re.escape(_TRUE), re.escape(_FALSE)
    atom = r"(?:\([^()]*\)|[^()]+?)"
    while text != previous:
        previous = text
        text = re.sub(rf"\(\s*({true}|{false})\s*\)", r"\1", text)
        text = re.sub(rf"{true}\s+and\s+|\s+and\s+{true}", "", text)
        text = re.sub(rf"{false}\s+or\s+|\s+or\s+{false}", "", text)
        if re.fullmatch(rf"{false}(\s+and\s+{atom})*|({atom}\s+and\s+)+{false}", text) and (
            " or " not in text
        ):
            return None
        if re.fullmatch(rf"{true}(\s+or\s+{atom})*|({atom}\s+or\s+)+{true}", text) and (
            " and " not in text
        ):
            return ""
    return {_TRUE: "", _FALSE: None}.get(text, text)
