"""Move the URLs of a lock from an index to its mirror and back, byte for byte. Pure functions.

The mirror's file URLs are reversible (mirror/cache/package_paths.py): only what precedes
``packages/`` differs. So uv.lock, pylock.toml and requirements files are moved as text: nothing
else in them changes, and the way back restores the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirror.core.errors import InputError, RefusedError

_OLD_LINK = re.compile(rb"/root/pypi/\+f/")
_PACKAGE = rb"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/"
_ANY_PACKAGE = re.compile(rb"(https?://[^\s\"'<>?#]+/packages/)" + _PACKAGE)
_URL_START = rb"(?<![\w/.+~%-])"  # not in the middle of another URL
_URL_END = rb"(?=[\"'/\s\\#;,<>]|$)"  # not in the middle of a longer name


@dataclass(frozen=True, slots=True)
class IndexAddresses:
    """The URL of a simple index, and what precedes the paths of its files: …/packages/."""

    index: str
    files: str


@dataclass(frozen=True, slots=True)
class MovedLock:
    """A lock after a move; ``indexes`` and ``files`` count the URLs that have changed.

    ``old_links`` counts links of mirrors of version 0.1.0: they do not tell where a file came from.
    """

    content: bytes
    indexes: int
    files: int
    old_links: int

    @property
    def is_changed(self) -> bool:
        return self.indexes + self.files > 0


def move_to_mirror(content: bytes, index: IndexAddresses, mirror: IndexAddresses) -> MovedLock:
    """Return a lock whose URLs lead to the mirror.

    Raises RefusedError if it names both the index and the mirror: after that, nobody could tell
    which URLs the way back has to change.
    """
    moved = _move(content, index, mirror)
    if moved.is_changed and _move(content, mirror, index).is_changed:
        raise RefusedError(
            "the lock names both the index and the mirror",
            why="moved to the mirror, it could not be moved back as it was",
            next_step="move it back first: mirror lock from FILE",
        )
    return moved


def move_from_mirror(content: bytes, index: IndexAddresses, mirror: IndexAddresses) -> MovedLock:
    """Return a lock whose URLs lead to the index again."""
    return _move(content, mirror, index)


def find_file_origins(content: bytes) -> list[str]:
    """Return what precedes the paths of files in a lock, the most frequent first."""
    counts: dict[bytes, int] = {}
    for match in _ANY_PACKAGE.finditer(content):
        counts[match[1]] = counts.get(match[1], 0) + 1
    return [origin.decode() for origin in sorted(counts, key=lambda origin: -counts[origin])]


def _move(content: bytes, old: IndexAddresses, new: IndexAddresses) -> MovedLock:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            "the lock is not UTF-8",
            why="it starts with the byte order mark of UTF-16",
            next_step="save it as UTF-8",
        )
    files = indexes = 0
    if old.files and new.files:
        pattern = _URL_START + re.escape(old.files.encode()) + b"(?=" + _PACKAGE + b")"
        content, files = re.subn(pattern, _literal(new.files), content)
    pattern = _URL_START + re.escape(old.index.rstrip("/").encode()) + _URL_END
    content, indexes = re.subn(pattern, _literal(new.index.rstrip("/")), content)
    return MovedLock(content, indexes, files, len(_OLD_LINK.findall(content)))


def _literal(text: str) -> bytes:
    return text.encode().replace(b"\\", rb"\\")
