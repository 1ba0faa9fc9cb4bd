"""Names that may become a path: project names and file names."""

from __future__ import annotations

import re
from urllib.parse import quote

from mirror.cache.errors import InvalidPageError

DISTRIBUTION_SUFFIXES = (
    *(".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".tar.Z"),
    *(".egg", ".exe", ".rpm", ".deb", ".dmg", ".msi"),
)
METADATA_SUFFIX = ".metadata"  # PEP 658: beside a wheel's URL

_NORMAL = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
_FILE = re.compile(r"[A-Za-z0-9_][^/\\\x00-\x20\x7f]{0,219}\Z")  # leaves room for suffixes
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,219}\Z")
_URL = re.compile(r"https?://[^\s#]+\Z")
_FOLDER = re.compile(r"(?:url-)?[0-9a-f]{64}\Z")


def normalize(name: str) -> str:
    """A project's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_normalized(name: str) -> bool:
    """Whether it is a project's normal name: safe as a file name."""
    return len(name) <= 200 and _NORMAL.match(name) is not None


def is_distribution_filename(name: str) -> bool:
    """Whether it can be the name of a distribution file."""
    return name.endswith(DISTRIBUTION_SUFFIXES) and _FILE.match(name) is not None


def is_file_folder(name: str) -> bool:
    """Whether it is a folder of one file: its sha256, or ``url-`` and that of its URL."""
    return _FOLDER.match(name) is not None


def is_sha256(text: str) -> bool:
    """Whether it is a sha256 in hex."""
    return len(text) == 64 and is_file_folder(text)


def quote_filename(name: str) -> str:
    """A file name as a URL's last part."""
    return name if _PLAIN.match(name) else quote(name, safe="")


def is_http_url(text: str) -> bool:
    """Whether it is a whole http or https URL that stays one when written between spaces."""
    return _URL.match(text) is not None


def check_page_project(told: object, project: str) -> None:
    """Raise NotAPage where a page is about another project."""
    if not isinstance(told, str) or normalize(told) != project:
        raise InvalidPageError(f"it is about {str(told)[:60]!r}")
