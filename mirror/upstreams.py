"""The indexes that a mirror fetches from, and which of them a project comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mirror.core.errors import InputError
from mirror.settings import DEFAULT_UPSTREAM, check_index_url, normalize_project_name

UPSTREAM_PATH = "+upstream"  # below the server's root URL: …/NAME/+simple/, …/NAME/packages/
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z")
_NAMED = re.compile(r"(?P<name>[^=/:?#]*)=(?P<url>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Upstream:
    """An index to mirror; ``url`` is empty for devpi's own default."""

    name: str
    url: str


def parse_upstream(text: str) -> Upstream:
    """Parse NAME=URL, a URL, or ``default``. Raises InputError."""
    if text == DEFAULT_UPSTREAM:
        return Upstream(DEFAULT_UPSTREAM, "")
    named = _NAMED.match(text)
    name, url = (named["name"], named["url"]) if named else (DEFAULT_UPSTREAM, text)
    if not _NAME.match(name):
        raise InputError(
            f"not a name of an upstream: {name[:80]!r}",
            why="a name has 1 to 32 lower-case letters, digits and '-', and starts and ends with "
            "a letter or digit",
            next_step="give --upstream NAME=URL, such as torch=https://index.example/simple/",
        )
    return Upstream(name, check_index_url(url))


def check_upstream(text: str) -> str:
    """Return the text if it names an upstream, else raise InputError."""
    parse_upstream(text)
    return text


def parse_pin(text: str) -> tuple[str, str]:
    """Parse PROJECT=UPSTREAM to the normalized project and the upstream's name."""
    project, equals, upstream = text.partition("=")
    if not equals or not _NAME.match(upstream):
        raise InputError(
            f"not a pin: {text[:80]!r}",
            why="a pin says which upstream a project comes from",
            next_step="give --pin PROJECT=UPSTREAM, such as torch=cpu",
        )
    return normalize_project_name(project), upstream


def check_pin(text: str) -> str:
    """Return the text if it is a pin, else raise InputError."""
    parse_pin(text)
    return text


def parse_upstreams(
    texts: Iterable[str], pins: Iterable[str] = ()
) -> tuple[tuple[Upstream, ...], dict[str, str]]:
    """Return the upstreams in their order, and the pins. Raises InputError if they do not fit."""
    upstreams = tuple(map(parse_upstream, texts)) or (Upstream(DEFAULT_UPSTREAM, ""),)
    names = [upstream.name for upstream in upstreams]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two upstreams have the name {name}",
                why="packages of one must not be taken for those of the other",
                next_step="give each its own name: --upstream NAME=URL",
            )
    pinned: dict[str, str] = {}
    for project, name in map(parse_pin, pins):
        if name not in names:
            raise InputError(
                f"{project} is pinned to {name}, which is no upstream",
                why=f"the upstreams are {', '.join(names)}",
                next_step="pin it to one of these, or add --upstream "
                f"{name}=URL to the others; each must be given",
            )
        if pinned.setdefault(project, name) != name:
            raise InputError(
                f"{project} is pinned to two upstreams",
                why="packages of two sources never mix under one name",
                next_step=f"give --pin {project}=UPSTREAM once",
            )
    return upstreams, pinned


def find_base(upstreams: Sequence[Upstream]) -> Upstream:
    """Return the upstream whose files are at /packages: the one named ``default``, or the first."""
    return next((u for u in upstreams if u.name == DEFAULT_UPSTREAM), upstreams[0])


def split_option(texts: Sequence[str]) -> Mapping[str, object]:
    """Return the settings that the values of --upstream stand for.

    A single URL is the setting ``upstream`` alone, as in versions that knew no other.
    """
    upstreams, _ = parse_upstreams(texts)
    is_plain = len(texts) == 1 and upstreams[0].name == DEFAULT_UPSTREAM
    return {
        "upstream": find_base(upstreams).url or None,
        "upstreams": () if is_plain else tuple(texts),
    }
