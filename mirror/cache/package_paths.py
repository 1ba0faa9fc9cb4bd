"""Reversible file URLs: what follows ``…/packages/`` is the same at the upstream and here.

The path starts with the BLAKE2b-256 of the file: aa/bb/<the other 60 digits>/<filename>. So a file
can be verified by its path alone, without its page, and a lock that names the upstream's URLs can
be moved to the mirror and back (mirror/lock_urls.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from string import ascii_letters, digits

from packaging.utils import canonicalize_name

from mirror.cache.names import (
    DISTRIBUTION_SUFFIXES,
    MAX_FILENAME,
    is_distribution_filename,
    quote_filename,
)
from mirror.volume import METADATA_SUFFIX
from mirror.wheels import SDIST_SUFFIXES

PACKAGES_PATH = "packages"  # below the server's root URL

_FIRST_URL = re.compile(r"(https?://[^\s\"\\#?]+/packages/)[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/")
_DIGEST_LENGTH = len("aa/bb/") + 60 + len("/")
_HEX_DIGITS = b"0123456789abcdef"
# a name of these characters is the same in a URL
_PLAIN_CHARACTERS = (ascii_letters + digits + "_.-").encode()


@dataclass(frozen=True, slots=True)
class PackagePath:
    """The path of a file below ``packages/``: its digest in three parts, and its filename."""

    first: str
    second: str
    rest: str
    filename: str

    @classmethod
    def parse(cls, parts: Sequence[str]) -> PackagePath | None:
        """Return the path with these decoded parts; None if they are not those of a file."""
        if len(parts) != 4 or not _are_digests("/".join(parts[:3]) + "/", 1):
            return None
        if not is_distribution_filename(parts[3].removesuffix(METADATA_SUFFIX)):
            return None
        return cls(*parts)

    @property
    def blake2b(self) -> str:
        """The digest of the distribution, also in the path of its core metadata."""
        return self.first + self.second + self.rest

    @property
    def distribution(self) -> PackagePath:
        """The path without the suffix of core metadata."""
        name = self.filename.removesuffix(METADATA_SUFFIX)
        return PackagePath(self.first, self.second, self.rest, name)

    @property
    def is_metadata(self) -> bool:
        return self.filename.endswith(METADATA_SUFFIX)

    def __str__(self) -> str:
        """Return it as the end of a URL."""
        return self._join(quote_filename(self.filename))

    @property
    def spellings(self) -> tuple[str, ...]:
        """The ends of URLs that a page may have for it."""
        return tuple(dict.fromkeys((str(self), self._join(self.filename))))

    def _join(self, filename: str) -> str:
        return f"{self.first}/{self.second}/{self.rest}/{filename}"


def find_origin(urls: Sequence[str], filenames: Sequence[str]) -> str:
    """Return what precedes the path of each URL, ending in /packages/; empty if they differ.

    Also empty if a path does not hold a digest and its file's own name.
    """
    first = _FIRST_URL.match(urls[0]) if urls else None
    if first is None or not are_package_urls(urls, filenames, first[1]):
        return ""
    return first[1]


def are_package_urls(urls: Sequence[str], filenames: Sequence[str], origin: str) -> bool:
    """Check that each URL is ``origin``, a digest and the file's own name.

    Whole lists are checked at once: a page may list ten thousand files.
    """
    if not all(map(str.startswith, urls, repeat(origin))):
        return False
    quoted = filenames
    if not _are_plain(filenames):
        if not all(map(is_distribution_filename, filenames)):
            return False
        quoted = list(map(quote_filename, filenames))
    start, end = len(origin), len(origin) + _DIGEST_LENGTH
    ends = [url[end:] for url in urls]
    if ends != list(quoted) and (ends != list(filenames) or _needs_quotes(filenames)):
        return False
    return _are_digests("".join([url[start:end] for url in urls]), len(urls))


def _are_plain(filenames: Sequence[str]) -> bool:
    """Check that all names are those of distributions and the same in a URL."""
    names = "\n" + "\n".join(filenames)
    return (
        names.isascii()
        and names.encode().translate(None, _PLAIN_CHARACTERS) == b"\n" * len(filenames)
        and not ("\n." in names or "\n-" in names)
        and all(map(str.endswith, filenames, repeat(DISTRIBUTION_SUFFIXES)))
        and max(map(len, filenames), default=0) <= MAX_FILENAME
    )


def _are_digests(text: str, number: int) -> bool:
    """Check that a text is ``number`` digests "aa/bb/<60 digits>/", in lower-case hex."""
    if len(text) != number * _DIGEST_LENGTH or not text.isascii():
        return False
    for position in (2, 5, _DIGEST_LENGTH - 1):
        if text[position::_DIGEST_LENGTH] != "/" * number:
            return False
    return text.encode().translate(None, _HEX_DIGITS) == b"/" * (3 * number)


def _needs_quotes(filenames: Sequence[str]) -> bool:
    """Return whether a name means something else in a URL; a plus sign or a "!" does not."""
    return any(not name.isascii() or set(name) & set("%?#") for name in filenames)


def guess_projects(filename: str) -> Iterator[str]:
    """Yield the normalized names of projects that a file may belong to, the likeliest first."""
    name = filename.removesuffix(METADATA_SUFFIX)
    if name.endswith((".whl", ".egg")):
        yield str(canonicalize_name(name.partition("-")[0]))
        return
    suffix = next((suffix for suffix in SDIST_SUFFIXES if name.endswith(suffix)), "")
    parts = name.removesuffix(suffix).split("-")
    by_version = [n for n in range(1, len(parts)) if parts[n][:1].isdigit()]
    for count in dict.fromkeys((*by_version, *range(len(parts) - 1, 0, -1))):
        yield str(canonicalize_name("-".join(parts[:count])))
