"""Read lock files: uv.lock, pylock.toml (PEP 751) and hashed requirements.

This is the only reader of lock files. It performs no network access and resolves nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mirror.core.errors import InputError

if TYPE_CHECKING:
    from packaging.pylock import Package, PackageArchive, PackageVcs

Source = Literal["index", "git", "url", "path"]

_MAX_BYTES = 64 * 1024**2  # a lock of 10,000 packages is smaller than 30 MB
_HASH = re.compile(
    r"\s--hash[= ](sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})(?=\s|$)",
    re.IGNORECASE,
)
_OPTIONS = ("-r", "-c", "-i", "-f", "--")
_PATHS = ("-e ", "--editable ", ".", "/", "file:")
_LOCAL_SOURCES = ("editable", "virtual", "directory", "path")  # keys of a source in uv.lock


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDistribution:
    """A distribution that a lock pins.

    ``specifier`` (PEP 440) is "==1.0" in a lock and empty for "the newest version"; ``marker``
    (PEP 508) is empty if the distribution always applies. ``hashes`` have the form
    "sha256:<hex>", one for each file that may be installed.

    ``origin`` is empty for a distribution from an index. Otherwise it is the direct reference:
    "git+https://…@<commit>", a URL, or a path as written in the lock. A requirement that is
    only a path has no ``name``.
    """

    name: str
    specifier: str = ""
    marker: str = ""
    hashes: tuple[str, ...] = ()
    origin: str = ""

    @property
    def source(self) -> Source:
        """Where the distribution comes from."""
        if not self.origin:
            return "index"
        if self.origin.startswith("git+"):
            return "git"
        is_url = "://" in self.origin and not self.origin.startswith("file:")
        return "url" if is_url else "path"

    @property
    def version(self) -> str:
        """The pinned version; empty if the specifier does not name exactly one."""
        specifiers = list(SpecifierSet(self.specifier))
        if len(specifiers) != 1 or specifiers[0].operator not in ("==", "==="):
            return ""
        version = specifiers[0].version
        return "" if "*" in version else version

    @property
    def sha256_digests(self) -> frozenset[str]:
        """The SHA-256 digests (hex) of the files that may be installed."""
        return frozenset(
            digest.removeprefix("sha256:") for digest in self.hashes if digest.startswith("sha256:")
        )

    @property
    def requirement(self) -> str:
        """The pin as one line of a requirements file."""
        target = f" @ {self.origin}" if self.origin else self.specifier
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{target}{marker}" + "".join(
            f" --hash={digest}" for digest in self.hashes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """The pins of a lock, in its order.

    ``requires_python`` is a PEP 440 specifier, empty if the lock has none. ``skipped`` lists the
    options of a requirements file, which this reader ignores, except for ``--hash``.
    """

    pins: tuple[PinnedDistribution, ...]
    requires_python: str = ""
    skipped: tuple[str, ...] = ()


def read_lock(source: str) -> LockFile:
    """Read a lock, requirements file, or a requirement such as ``numpy>=2``. Raises InputError."""
    path = Path(source)
    looks_like_file = "/" in source or source.endswith((".txt", ".toml", ".lock", ".in"))
    if not looks_like_file and not path.is_file():
        return LockFile(pins=(_parse_requirement(source, source),))
    try:
        if path.is_dir():
            raise _lock_error(source, "it is a directory", "name the lock in it, such as uv.lock")
        if path.stat().st_size > _MAX_BYTES:
            raise _lock_error(source, f"it is larger than {_MAX_BYTES // 1024**2} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _lock_error(source, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _lock_error(source, "it is not a UTF-8 text file") from error
    if path.suffix not in (".lock", ".toml"):
        return parse_requirements(text, source)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _lock_error(source, f"it is not TOML: {error}") from error
    if "lock-version" in document:
        return _parse_pylock(document, source)
    if isinstance(document.get("package"), list):
        return _parse_uv_lock(document, source)
    raise _lock_error(source, "it is neither a uv.lock nor a pylock.toml")


def parse_requirements(text: str, source: str = "requirements") -> LockFile:
    """Parse a requirements file as `uv export` and pip-tools write it.

    ``source`` names the file in error messages. Raises InputError for a line that is neither a
    requirement nor an option.
    """
    pins, skipped = [], []
    for number, line in enumerate(_join_lines(text), start=1):
        if line.startswith(_PATHS):
            pins.append(_parse_path(line))
        elif line.startswith(_OPTIONS):
            skipped.append(line)
        else:
            pins.append(_parse_requirement(line, f"{source}, requirement {number}"))
            _, dashes, options = _HASH.sub("", line).partition(" --")
            skipped += [dashes.strip() + options] if dashes else []
    return LockFile(pins=tuple(pins), skipped=tuple(skipped))


def merge_locks(locks: Iterable[LockFile]) -> LockFile:
    """Combine several locks into one that has every pin once."""
    locks = list(locks)
    pins = dict.fromkeys(pin for lock in locks for pin in lock.pins)
    return LockFile(
        pins=tuple(pins),
        requires_python=",".join(lock.requires_python for lock in locks if lock.requires_python),
        skipped=tuple(line for lock in locks for line in lock.skipped),
    )


def _join_lines(text: str) -> Iterator[str]:
    """Yield the lines without comments, continuation lines joined."""
    joined = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        content = "" if line.lstrip().startswith("#") else re.sub(r"\s#.*$", "", line)
        if content.rstrip().endswith("\\"):
            joined += content.rstrip()[:-1] + " "
            continue
        if complete := (joined + content).strip():
            yield complete
        joined = ""
    if joined.strip():
        yield joined.strip()


def _parse_path(line: str) -> PinnedDistribution:
    """Parse a local requirement: "-e ./member", "./a.whl ; marker --hash=…", "file:///…"."""
    bare, _, marker = _HASH.sub("", line).partition(" ;")
    path = bare.removeprefix("--editable").removeprefix("-e").strip()
    return PinnedDistribution(
        name="", origin=path, marker=marker.strip(), hashes=_find_hashes(line)
    )


def _parse_requirement(line: str, label: str) -> PinnedDistribution:
    """Parse a PEP 508 requirement with its hashes. ``label`` names it in error messages."""
    bare = line.partition(" --")[0].strip()
    try:
        requirement = Requirement(bare)
    except InvalidRequirement as error:
        raise _lock_error(
            label,
            f"{bare[:80]!r} is not a requirement: {str(error).splitlines()[0]}",
            "give a lock, a requirements file, or packages such as fastapi or numpy==2.1",
        ) from error
    return PinnedDistribution(
        name=canonicalize_name(requirement.name),
        specifier=str(requirement.specifier),
        marker=str(requirement.marker or ""),
        hashes=_find_hashes(line),
        origin=requirement.url or "",
    )


def _find_hashes(line: str) -> tuple[str, ...]:
    return tuple(digest.lower() for digest in _HASH.findall(line))


def _parse_uv_lock(document: Mapping[str, Any], source: str) -> LockFile:
    pins = []
    for package in document["package"]:
        try:
            version = str(package.get("version", ""))
            files = [package["sdist"]] if "sdist" in package else []
            files += package.get("wheels", [])
            pins.append(
                PinnedDistribution(
                    name=canonicalize_name(package["name"]),
                    specifier=f"=={version}" if version else "",
                    hashes=tuple(str(file["hash"]).lower() for file in files if "hash" in file),
                    origin=_uv_origin(package["source"]),
                )
            )
        except (KeyError, TypeError, AttributeError) as error:
            why = f"uv does not write packages this way: {error!r}"[:200]
            raise _lock_error(source, why) from error
    return LockFile(pins=tuple(pins), requires_python=str(document.get("requires-python", "")))


def _uv_origin(source: Mapping[str, str]) -> str:
    """Return the direct reference of a source table; empty for a registry."""
    if "git" in source:
        return f"git+{source['git']}"
    return next((str(source[key]) for key in ("url", *_LOCAL_SOURCES) if key in source), "")


def _parse_pylock(document: Mapping[str, Any], source: str) -> LockFile:
    from packaging.pylock import Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(document)
    except (PylockValidationError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise _lock_error(source, str(error)) from error
    pins = tuple(
        PinnedDistribution(
            name=package.name,
            specifier=f"=={package.version}" if package.version else "",
            marker=str(package.marker or ""),
            hashes=_pylock_hashes(package),
            origin=_pylock_origin(package),
        )
        for package in lock.packages
    )
    return LockFile(pins=pins, requires_python=str(lock.requires_python or ""))


def _pylock_hashes(package: Package) -> tuple[str, ...]:
    files = [*(package.wheels or ()), package.sdist, package.archive]
    digests = {
        f"{algorithm}:{digest}".lower()
        for file in files
        if file is not None
        for algorithm, digest in file.hashes.items()
        if algorithm in ("sha256", "sha384", "sha512")
    }
    return tuple(sorted(digests))


def _pylock_origin(package: Package) -> str:
    """Return the direct reference of a package; empty if it comes from an index."""
    if package.directory is not None:
        return package.directory.path
    reference: PackageVcs | PackageArchive | None = package.vcs or package.archive
    if reference is None:
        return ""
    origin = reference.url or reference.path or ""
    if package.vcs is not None:
        origin = f"{package.vcs.type}+{origin}@{package.vcs.commit_id}"
    return origin + (f"#subdirectory={reference.subdirectory}" if reference.subdirectory else "")


def _lock_error(source: str, why: str, next_step: str = "") -> InputError:
    return InputError(
        f"cannot be read as a lock: {source[:200]}",
        why=why,
        next_step=next_step or "give a uv.lock, a pylock.toml, or requirements with hashes",
    )
