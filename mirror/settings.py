"""What a mirror is told: where it listens, what it mirrors, and the address workloads are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from mirror.core.errors import InputError

MIRROR_INDEX = "root/pypi"  # the pull-through mirror that devpi makes at initialisation
WORKLOADS_INDEX = "workloads/stable"  # private distributions, inherits MIRROR_INDEX
DEFAULT_PORT = 3141  # devpi's own
DEFAULT_THREADS = 4  # more contend for the one SQLite writer: docs/reliability.md
REQUEST_TIMEOUT = 60  # seconds devpi waits for its upstream; its default of 5 fails when cold
MAX_UPLOAD_BYTES = 4 * 1024**3  # bytes; the largest wheels on public indexes are below 4 GiB

_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an index answers; always an IPv4 literal, so that no client has to look a name up."""

    address: IPv4Address
    port: int = DEFAULT_PORT
    index: str = WORKLOADS_INDEX

    @property
    def root_url(self) -> str:
        """The server's root URL, no trailing slash."""
        return f"http://{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """The simple index (PEP 503 and 691)."""
        return f"{self.root_url}/{self.index}/+simple/"

    def environment(self) -> dict[str, str]:
        """What makes uv and pip use this index.

        UV_INDEX_URL is the older name of UV_DEFAULT_INDEX; uv 0.6 and 0.13 honour both. pip
        takes plain http only from a host that it is told to trust.
        """
        return {
            "PIP_INDEX_URL": self.url,
            "PIP_TRUSTED_HOST": str(self.address),
            "UV_DEFAULT_INDEX": self.url,
            "UV_INDEX_URL": self.url,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The part of a mirror's settings that is the same on a laptop and in a cluster."""

    upstream: str | None = None  # None: devpi's own default
    threads: int = DEFAULT_THREADS
    request_timeout: int = REQUEST_TIMEOUT  # seconds

    def __post_init__(self) -> None:
        if self.upstream is not None:
            check_index_url(self.upstream)


def check_index_url(url: str) -> str:
    """An http(s) URL of a simple index, or InputError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s'\"]", url):
        raise InputError(
            f"not an index URL: {url!r}",
            why="an index is an http:// or https:// URL with a host",
            next_step="give the simple index, such as https://index.example/simple/",
        )
    if parts.username or parts.password:
        raise InputError(
            "an index URL with a password in it is refused",
            why="it would stand in argv, in logs and in the index's public settings",
            next_step="leave the user and password out of the URL",
        )
    return url


def check_dns_label(value: str, what: str) -> str:
    """A Kubernetes name (RFC 1123 label), or InputError."""
    if not _DNS_LABEL.match(value):
        raise InputError(
            f"not a valid {what}: {value!r}",
            why="Kubernetes names have lower-case letters, digits and '-', 63 at most",
            next_step=f"choose another {what}",
        )
    return value


def normalize_project_name(name: str) -> str:
    """The name of a project as indexes write it (PEP 503), or InputError."""
    if not _PROJECT.match(name):
        raise InputError(
            f"not the name of a project: {name[:80]!r}",
            why="it has letters, digits, '-', '_' and '.', and starts and ends with one of the "
            "first two",
            next_step="give names such as acme-billing",
        )
    return re.sub(r"[-_.]+", "-", name).lower()


def check_port(value: int) -> int:
    """A TCP port that an ordinary user may listen on, or InputError."""
    if not 1024 <= value <= 65535:
        raise InputError(
            f"not a usable port: {value}",
            why="ports 1024 to 65535 need no root",
            next_step=f"leave --port out for {DEFAULT_PORT}, or choose another",
        )
    return value
