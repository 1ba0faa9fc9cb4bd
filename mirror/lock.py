"""What a project has pinned: uv.lock, pylock.toml or hashed requirements → Pinned. Pure reading."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mirror.core.errors import InputError

Origin = Literal["index", "git", "url", "path"]

_LARGEST = 64 * 1024**2  # bytes; a lock of 10,000 packages is below 30 MB
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-fA-F]{64})")
_OPTIONS = ("-r", "-c", "-i", "-f", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """One file of a release. What a lock does not say is empty, or 0 for ``size`` (bytes)."""

    filename: str = ""
    url: str = ""
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDistribution:
    """One release of one project, and where it comes from.

    ``specifier`` is PEP 440's, "==1.0" from a lock, empty for the newest. ``marker`` is PEP 508's.
    """

    name: str  # normalised
    specifier: str = ""
    origin: Origin = "index"
    files: tuple[PinnedFile, ...] = ()
    marker: str = ""

    @property
    def hashes(self) -> frozenset[str]:
        return frozenset(file.sha256 for file in self.files if file.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """All that was pinned, and the Pythons that it is for (PEP 440; empty: not said)."""

    pins: tuple[PinnedDistribution, ...]
    requires_python: str = ""
    skipped: tuple[str, ...] = field(default=())  # lines that pin nothing, such as options


def read_lock(source: str) -> LockFile:
    """A lock or requirements file, or a requirement such as ``fastapi`` or ``numpy>=2``.

    Raises InputError in one line for what is neither.
    """
    path = Path(source)
    looks_like_a_file = "/" in source or source.endswith((".txt", ".toml", ".lock", ".in"))
    if not looks_like_a_file and not path.is_file():
        return LockFile(pins=(_requirement(source, frozenset(), source),))
    try:
        if path.is_dir():
            raise _bad(source, "it is a folder", "give the lock in it, such as uv.lock")
        if path.stat().st_size > _LARGEST:
            raise _bad(source, f"it is larger than {_LARGEST // 1024**2} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as broken:
        raise _bad(source, broken.strerror or str(broken)) from broken
    except UnicodeDecodeError as binary:
        raise _bad(source, "it is not a text file (UTF-8)") from binary
    if path.suffix not in (".lock", ".toml"):
        return parse_requirements(text, source)
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as broken:
        raise _bad(source, f"it is not TOML: {broken}") from broken
    if "lock-version" in told:
        return _pylock(told, source)
    if isinstance(told.get("package"), list):
        return _uv_lock(told, source)
    raise _bad(source, "it is neither a uv.lock nor a pylock.toml")


def parse_requirements(text: str, source: str = "requirements") -> LockFile:
    """A requirements file as `uv export` and pip-tools write it; options are skipped."""
    pins, skipped = [], []
    for number, line in enumerate(_logical_lines(text), start=1):
        where = f"{source}, requirement {number}"
        if line.startswith(("-e ", "--editable ", "./", "../", "/")):
            pins.append(PinnedDistribution(name=line.split()[-1], origin="path"))
        elif line.startswith(_OPTIONS):
            skipped.append(line)
        else:
            spec = line.partition(" --")[0].strip()
            pins.append(_requirement(spec, frozenset(_HASH.findall(line)), where))
    return LockFile(pins=tuple(pins), skipped=tuple(skipped))


def _logical_lines(text: str) -> Iterator[str]:
    """Lines joined at their backslashes, without comments."""
    whole = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        plain = "" if line.lstrip().startswith("#") else re.sub(r"\s#.*$", "", line)
        if plain.rstrip().endswith("\\"):
            whole += plain.rstrip()[:-1] + " "
            continue
        whole = (whole + plain).strip()
        if whole:
            yield whole
        whole = ""
    if whole.strip():
        yield whole.strip()


def _requirement(spec: str, hashes: frozenset[str], where: str) -> PinnedDistribution:
    try:
        told = Requirement(spec)
    except InvalidRequirement as broken:
        raise _bad(
            where,
            f"{spec[:80]!r} is no requirement: {str(broken).splitlines()[0]}",
            "give a lock, a requirements file, or packages such as fastapi or numpy==2.1",
        ) from broken
    origin: Origin = "index"
    if told.url:
        origin = "git" if told.url.startswith("git+") else "url"
    return PinnedDistribution(
        name=canonicalize_name(told.name),
        specifier=str(told.specifier),
        origin=origin,
        files=tuple(PinnedFile(sha256=one.lower()) for one in sorted(hashes)),
        marker=str(told.marker or ""),
    )


def _uv_lock(told: Mapping[str, Any], source: str) -> LockFile:
    pins = []
    for package in told["package"]:
        try:
            kinds = set(package["source"])
            if kinds & {"editable", "virtual", "directory", "path"}:
                origin: Origin = "path"
            elif "git" in kinds:
                origin = "git"
            else:
                origin = "url" if "url" in kinds else "index"
            listed = [package["sdist"]] if "sdist" in package else []
            version = str(package.get("version", ""))
            pins.append(
                PinnedDistribution(
                    name=canonicalize_name(package["name"]),
                    specifier=f"=={version}" if version else "",
                    origin=origin,
                    files=tuple(_file(one) for one in [*listed, *package.get("wheels", [])]),
                )
            )
        except (KeyError, TypeError, AttributeError) as broken:
            raise _bad(source, f"not as uv writes packages: {broken!r}"[:200]) from broken
    return LockFile(pins=tuple(pins), requires_python=str(told.get("requires-python", "")))


def _pylock(told: Mapping[str, Any], source: str) -> LockFile:
    from packaging.pylock import PackageSdist, PackageWheel, Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(told)
    except (PylockValidationError, ValueError, TypeError) as broken:
        raise _bad(source, str(broken)) from broken
    pins = []
    for package in lock.packages:
        origin: Origin = "index"
        if package.vcs:
            origin = "git"
        elif package.directory:
            origin = "path"
        elif package.archive:
            origin = "url"
        listed: list[PackageWheel | PackageSdist] = [*(package.wheels or [])]
        listed += [package.sdist] if package.sdist else []
        pins.append(
            PinnedDistribution(
                name=canonicalize_name(package.name),
                specifier=f"=={package.version}" if package.version else "",
                origin=origin,
                files=tuple(
                    PinnedFile(
                        filename=one.name or _name_of(one.url or one.path or ""),
                        url=one.url or "",
                        sha256=str((one.hashes or {}).get("sha256", "")).lower(),
                        size=one.size or 0,
                    )
                    for one in listed
                ),
                marker=str(package.marker or ""),
            )
        )
    return LockFile(pins=tuple(pins), requires_python=str(lock.requires_python or ""))


def _file(one: Mapping[str, Any]) -> PinnedFile:
    url = str(one.get("url", ""))
    algorithm, _, digest = str(one.get("hash", "")).partition(":")
    return PinnedFile(
        filename=str(one.get("filename") or _name_of(url or str(one.get("path", "")))),
        url=url,
        sha256=digest.lower() if algorithm == "sha256" else "",
        size=int(one.get("size", 0)),
    )


def _name_of(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def merge_locks(locks: Iterable[LockFile]) -> LockFile:
    """Several as one, each pin once."""
    together = list(locks)
    pins = dict.fromkeys(pin for lock in together for pin in lock.pins)
    pythons = [lock.requires_python for lock in together if lock.requires_python]
    return LockFile(
        pins=tuple(pins),
        requires_python=",".join(pythons),
        skipped=tuple(line for lock in together for line in lock.skipped),
    )


def _bad(source: str, why: str, next_step: str = "") -> InputError:
    return InputError(
        f"cannot be read as a lock: {source[:200]}",
        why=why,
        next_step=next_step or "give a uv.lock, a pylock.toml, or requirements with hashes",
    )
