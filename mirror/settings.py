"""Settings of a mirror: names and limits, the address of an index, and checks of user input."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from mirror.core.errors import InputError

MIRROR_INDEX = "root/pypi"  # public packages, fetched from the upstream
WORKLOADS_INDEX = "workloads/stable"  # the index that workloads use; its uploads are private
DEFAULT_UPSTREAM = "default"  # the name of the upstream that is given without one
DEFAULT_PORT = 3141  # devpi's own
DEFAULT_THREADS = 4  # more would wait for the one SQLite writer: docs/reliability.md
REQUEST_TIMEOUT = 60  # seconds devpi waits for its upstream; the default of 5 is too short
MAX_UPLOAD_BYTES = 4 * 1024**3  # the largest wheels on public indexes are smaller
OWN_USER_AGENT = "pypi-mirror-check"  # of our own requests to the mirror: they count as no hits
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"  # content type of the simple API (PEP 691)

_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?\Z")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of an index: an IPv4 literal, so that clients need no DNS."""

    address: IPv4Address
    port: int = DEFAULT_PORT
    index: str = WORKLOADS_INDEX

    @property
    def root_url(self) -> str:
        """The server's root URL, without a trailing slash."""
        return f"http://{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the simple index (PEP 503 and 691)."""
        return f"{self.root_url}/{self.index}/+simple/"

    def environment(self) -> dict[str, str]:
        """Return the variables that make uv and pip use this index.

        UV_INDEX_URL is the older name of UV_DEFAULT_INDEX; uv 0.6 to 0.13 read both. pip accepts
        plain HTTP only from a trusted host.
        """
        return {
            "PIP_INDEX_URL": self.url,
            "PIP_TRUSTED_HOST": str(self.address),
            "UV_DEFAULT_INDEX": self.url,
            "UV_INDEX_URL": self.url,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings that a local mirror and one in a cluster have in common."""

    upstream: str | None = None  # None: devpi's default
    threads: int = DEFAULT_THREADS
    request_timeout: int = REQUEST_TIMEOUT  # seconds

    def __post_init__(self) -> None:
        if self.upstream is not None:
            check_index_url(self.upstream)


def check_index_url(url: str) -> str:
    """Return the URL if it can be that of a simple index, else raise InputError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s'\"]", url):
        raise InputError(
            f"not an index URL: {url!r}",
            why="an index is an http:// or https:// URL with a host",
            next_step="name a simple index, such as https://index.example/simple/",
        )
    if parts.username or parts.password:
        raise InputError(
            "an index URL must not contain a password",
            why="it would appear in argv, in logs and in the index's public settings",
            next_step="remove the user and password from the URL",
        )
    return url


def check_host_name(value: str) -> str:
    """Return the value if it is a host name in lower case, else raise InputError."""
    labels = value.split(".")
    if len(value) > 253 or not all(_DNS_LABEL.match(label) for label in labels):
        raise InputError(
            f"not a host name: {value[:80]!r}",
            why="a host name has labels of lower-case letters, digits and '-', without a port",
            next_step="give one such as packages.corp.example",
        )
    return value


def check_dns_label(value: str, what: str) -> str:
    """Return the value if it is a Kubernetes name (RFC 1123 label), else raise InputError."""
    if not _DNS_LABEL.match(value):
        raise InputError(
            f"not a valid {what}: {value!r}",
            why="a Kubernetes name has at most 63 lower-case letters, digits and '-'",
            next_step=f"choose another {what}",
        )
    return value


def normalize_project_name(name: str) -> str:
    """Return the normalized form of a project name (PEP 503), or raise InputError."""
    from packaging.utils import canonicalize_name

    if not _PROJECT.match(name):
        raise InputError(
            f"not a project name: {name[:80]!r}",
            why="a project name has letters, digits, '-', '_' and '.', and starts and ends with a "
            "letter or digit",
            next_step="use a name such as acme-billing",
        )
    return str(canonicalize_name(name))


def check_port(value: int) -> int:
    """Return the port if every user may listen on it, else raise InputError."""
    if not 1024 <= value <= 65535:
        raise InputError(
            f"not a usable port: {value}",
            why="ports 1024 to 65535 need no root",
            next_step=f"omit --port to use {DEFAULT_PORT}, or choose another",
        )
    return value
