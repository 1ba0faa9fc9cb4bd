"""What a warming is told, and what it tells: the words between a command and its worker. Pure."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mirror.lock import PinnedDistribution
from mirror.wheels import TargetEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedRelease:
    """One release: its project, PEP 440 specifier, and the SHA-256 that files may have."""

    name: str
    specifier: str = ""
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingDistribution:
    """What is not there now, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmReport:
    """What is there now. ``size`` in bytes, ``seconds`` from the first request to the last."""

    projects: int
    files: int
    size: int
    misses: tuple[MissingDistribution, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmProgress:
    """How far it is; ``left`` is an estimate in seconds, None before there is one."""

    step: str
    done: int
    total: int
    text: str
    left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmRequest:
    """All that a warming is told; what its pod or process reads."""

    wanted: tuple[RequestedRelease, ...]
    target: TargetEnvironment

    def to_bytes(self) -> bytes:
        """Compressed: a ConfigMap holds 1 MiB."""
        return gzip.compress(json.dumps(asdict(self), sort_keys=True).encode(), mtime=0)

    @property
    def digest(self) -> str:
        """The same for the same order: ten hexadecimal digits."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:10]

    @classmethod
    def from_bytes(cls, content: bytes) -> WarmRequest:
        told = json.loads(gzip.decompress(content))
        wanted = tuple(
            RequestedRelease(**{**one, "hashes": tuple(one["hashes"])}) for one in told["wanted"]
        )
        target = told["target"]
        return cls(
            wanted=wanted,
            target=TargetEnvironment(
                pythons=tuple(target["pythons"]),
                machines=tuple(target["machines"]),
                musl=target["musl"],
            ),
        )


def build_warm_request(
    pins: Sequence[PinnedDistribution], target: TargetEnvironment
) -> tuple[WarmRequest, tuple[MissingDistribution, ...]]:
    """What to ask for, and what no index has."""
    wanted: dict[RequestedRelease, None] = {}
    misses = []
    for pin in pins:
        if pin.source == "path":
            continue  # the project itself
        if pin.source != "index":
            why = f"comes from {'git' if pin.source == 'git' else 'a URL'}, not from an index: "
            misses.append(
                MissingDistribution(name=pin.name, why=why + "build it and `mirror add` it")
            )
        elif target.satisfies_marker(pin.marker):
            hashes = tuple(sorted(pin.sha256_digests))
            wanted[RequestedRelease(name=pin.name, specifier=pin.specifier, hashes=hashes)] = None
    return WarmRequest(wanted=tuple(wanted), target=target), tuple(misses)


def parse_latest_progress(log: str) -> WarmProgress | WarmReport | None:
    """The newest that a worker's log says; None where it says nothing yet."""
    for line in reversed(log.splitlines()):
        try:
            told = json.loads(line)
            if "report" in told:
                report = told["report"]
                misses = tuple(MissingDistribution(**one) for one in report["misses"])
                return WarmReport(**{**report, "misses": misses})
            return WarmProgress(**told)
        except (ValueError, TypeError, KeyError):
            continue  # not a line of ours
    return None
