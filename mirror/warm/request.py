"""What a warm run is asked to do and what it reports: the protocol between command and worker.

The command and the worker may be of different versions (the Job runs the image of the mirror),
so the field names are part of the protocol.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mirror.core.codec import dump, json_key, load
from mirror.lock import PinnedDistribution
from mirror.wheels import TargetEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRelease:
    """A release to warm: project, PEP 440 specifier, and the SHA-256 (hex) of allowed files.

    ``upstream`` is the mirror's name for the index that the lock names; empty: the mirror chooses.
    """

    name: str
    specifier: str = ""
    hashes: tuple[str, ...] = ()
    upstream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingDistribution:
    """A distribution that the mirror does not have, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmReport:
    """The result: what the mirror now has. ``size`` in bytes; ``seconds`` is the duration."""

    projects: int
    files: int
    size: int
    misses: tuple[MissingDistribution, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmProgress:
    """The progress of the step "pages" or "files"; ``left`` is the estimated seconds to the end."""

    step: str
    done: int
    total: int
    text: str
    left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmRequest:
    """The releases to warm and the environments that will install them."""

    releases: tuple[RequestedRelease, ...] = field(metadata=json_key("wanted"))
    target: TargetEnvironment

    def to_bytes(self) -> bytes:
        """Return the request as compressed JSON: a ConfigMap holds at most 1 MiB."""
        document = dump(self)
        for release in document["wanted"]:
            if not release["upstream"]:
                del release["upstream"]  # older images do not know it
        return gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0)

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits that are the same for equal requests."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:10]

    @classmethod
    def from_bytes(cls, content: bytes) -> WarmRequest:
        return load(cls, json.loads(gzip.decompress(content)))


def build_warm_request(
    pins: Sequence[PinnedDistribution],
    target: TargetEnvironment,
    upstreams: Mapping[str, str] | None = None,
) -> tuple[WarmRequest, tuple[MissingDistribution, ...]]:
    """Return a request for what ``target`` needs from an index, and the pins that no index has.

    ``upstreams`` are the mirror's names of its indexes by their URLs: a package whose lock names
    one of these is taken from there.
    """
    names = {url.rstrip("/"): name for url, name in (upstreams or {}).items()}
    releases: dict[RequestedRelease, None] = {}
    missing = []
    for pin in pins:
        if pin.source in ("git", "url"):
            origin = "git" if pin.source == "git" else "a URL"
            why = f"comes from {origin}, not from an index: build it and `mirror add` it"
            missing.append(MissingDistribution(name=pin.name, why=why))
        elif pin.source == "index" and target.satisfies_marker(pin.marker):
            hashes = tuple(sorted(pin.sha256_digests))
            release = RequestedRelease(
                name=pin.name,
                specifier=pin.specifier,
                hashes=hashes,
                upstream=names.get(pin.registry.rstrip("/"), ""),
            )
            releases[release] = None
    return WarmRequest(releases=tuple(releases), target=target), tuple(missing)


def parse_latest_progress(log: str) -> WarmProgress | WarmReport | None:
    """Return the last progress or report in a worker's log; None if there is none yet."""
    for line in reversed(log.splitlines()):
        try:
            entry = json.loads(line)
            if "report" in entry:
                return load(WarmReport, entry["report"])
            return load(WarmProgress, entry)
        except (ValueError, TypeError):
            continue  # output of something else
    return None
