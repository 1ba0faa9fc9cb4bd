"""Find a file's entry on a stored page (PEP 691) without decoding the page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mirror.cache.names import is_sha256

_WINDOW = 8192  # bytes around a link in which its entry is looked for; entries have about 700
_MAX_OBJECTS = 16  # that may start before a link in its entry
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A file of a page: its link, and the SHA-256 of the file and of its core metadata.

    ``metadata_sha256`` is None without core metadata; a hash is empty if the page has none.
    """

    url: str
    sha256: str
    metadata_sha256: str | None


def find_entry(body: bytes, link_end: str) -> PageEntry | None:
    """Return the first entry whose link ends with a text; None if there is none."""
    return next(find_entries(body, link_end), None)


def find_entries(body: bytes, link_end: str) -> Iterator[PageEntry]:
    """Yield the entries whose links end with a text. ``body`` is a page as JSON."""
    text = f'{link_end}"'.encode()
    position = body.find(text)
    while position >= 0:
        entry = _decode_around(body, position, link_end)
        if entry is not None:
            yield _parse_entry(entry)
        position = body.find(text, position + len(text))


def _decode_around(body: bytes, position: int, link_end: str) -> Mapping[str, Any] | None:
    """Decode the object that holds the link at a position; None if it holds something else."""
    start = max(position - _WINDOW, 0)
    text = body[start : position + _WINDOW].decode("utf-8", "replace")
    inner = len(body[start:position].decode("utf-8", "replace"))
    brace = inner
    for _ in range(_MAX_OBJECTS):
        brace = text.rfind("{", 0, brace)
        if brace < 0:
            return None
        try:
            found, end = _JSON.raw_decode(text, brace)
        except ValueError:
            continue
        if end > inner:
            is_entry = isinstance(found, dict) and str(found.get("url")).endswith(link_end)
            return found if is_entry else None
    return None


def _parse_entry(entry: Mapping[str, Any]) -> PageEntry:
    hashes = entry.get("hashes")
    metadata = entry.get("core-metadata", entry.get("data-dist-info-metadata"))
    return PageEntry(
        url=str(entry["url"]),
        sha256=_read_sha256(hashes),
        metadata_sha256=_read_sha256(metadata) if metadata else None,
    )


def _read_sha256(hashes: object) -> str:
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    return digest.lower() if isinstance(digest, str) and is_sha256(digest.lower()) else ""
