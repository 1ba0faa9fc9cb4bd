"""Check names and URLs that come from outside before they become paths."""

from __future__ import annotations

import re
from urllib.parse import quote

from mirror.volume import URL_PREFIX

DISTRIBUTION_SUFFIXES = (
    *(".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".tar.Z"),
    *(".egg", ".exe", ".rpm", ".deb", ".dmg", ".msi"),
)

MAX_FILENAME = 220  # characters; leaves room for suffixes
_NORMALIZED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_FILENAME = re.compile(rf"[A-Za-z0-9_][^/\\\x00-\x20\x7f]{{0,{MAX_FILENAME - 1}}}\Z")
_URL_SAFE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.\-]{{0,{MAX_FILENAME - 1}}}\Z")
_URL = re.compile(r"https?://[^\s#]+\Z")
_FOLDER = re.compile(rf"(?:{URL_PREFIX})?[0-9a-f]{{64}}\Z")


def is_normalized(name: str) -> bool:
    """Check that a text is a normalized project name (PEP 503) and safe as a filename."""
    return len(name) <= 200 and _NORMALIZED.match(name) is not None


def is_distribution_filename(name: str) -> bool:
    """Check that a text can be the filename of a distribution."""
    return name.endswith(DISTRIBUTION_SUFFIXES) and _FILENAME.match(name) is not None


def is_file_folder(name: str) -> bool:
    """Check that a text is the folder of a cached file: a SHA-256, with or without ``url-``."""
    return _FOLDER.match(name) is not None


def is_sha256(text: str) -> bool:
    """Check that a text is a SHA-256 in lower-case hex."""
    return len(text) == 64 and is_file_folder(text)


def quote_filename(name: str) -> str:
    """Return a filename as the last part of a URL."""
    return name if _URL_SAFE.match(name) else quote(name, safe="")


def is_http_url(text: str) -> bool:
    """Check that a text is an absolute http or https URL without spaces or a fragment."""
    return _URL.match(text) is not None
