"""A project's lock → hashed requirements, by `uv export`: read, never resolved again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from images.application_recipe import ApplicationRecipe, read_toml
from images.pylock import MALFORMED_LOCK_ERRORS, check_extras, logical_lines, read_pylock
from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

_HASH = re.compile(r"--hash=(sha(?:256|384|512):[0-9a-f]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDistribution:
    """One locked distribution. ``origin``: "" for an index, else the URL or path that it is at."""

    name: str  # canonical
    version: str  # "" where only the origin decides
    marker: str  # "" is always
    hashes: tuple[str, ...]  # sha256:…
    origin: str = ""

    @property
    def requirement(self) -> str:
        """As a requirements file has it, one line."""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}=={self.version}{marker}" + "".join(
            f" --hash={one}" for one in self.hashes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLock:
    """``pins`` in the lock's order; ``local``: folders of the source that are members."""

    file: str
    sha256: str  # SHA-256 of the lock (hex)
    pins: tuple[LockedDistribution, ...]
    members: tuple[str, ...]

    @property
    def off_index(self) -> tuple[LockedDistribution, ...]:
        """Those that no index has: git, URL, and paths out of the source."""
        return tuple(pin for pin in self.pins if pin.origin)

    @property
    def requirements_text(self) -> str:
        """The requirements file. Every pin has to be of an index by then."""
        return "".join(f"{pin.requirement}\n" for pin in self.pins)


def read_project_lock(
    folder: Path,
    recipe: ApplicationRecipe,
    deadline: Deadline,
    *,
    vendored: frozenset[str] = frozenset(),
) -> ProjectLock:
    """Of uv.lock, pylock.toml or a requirements.txt with hashes, the first that is there.

    Raises InputError for a project without a lock, one that is out of date, an unknown extra, and
    a pin without a hash whose name is not in ``vendored``.
    """
    if (folder / "uv.lock").is_file():
        name, lines = "uv.lock", _export(folder, recipe, deadline)
    elif (folder / "pylock.toml").is_file():
        name, lines = "pylock.toml", list(read_pylock(folder / "pylock.toml"))
    elif (folder / "requirements.txt").is_file():
        text = (folder / "requirements.txt").read_text(errors="replace")
        name, lines = "requirements.txt", logical_lines(text)
    else:
        raise InputError(
            f"{folder} has no lock",
            why="an image is built from exact versions with hashes: uv.lock, pylock.toml or a "
            "requirements.txt with --hash",
            next_step="make one there: uv lock",
        )
    if name != "uv.lock":
        check_extras(folder, recipe.extras)
    pins, members = [], []
    for line in lines:
        found = _parse(line, folder, name)
        if isinstance(found, LockedDistribution):
            pins.append(found)
        else:
            members.append(found)
    for pin in pins:
        if not pin.origin and not pin.hashes and pin.name not in vendored:
            raise InputError(
                f"{pin.name} {pin.version} has no hash in {name}",
                why="what is installed could not be told from what was locked",
                next_step="lock it with hashes (uv lock, or uv pip compile --generate-hashes), "
                f"or give a file for it: --vendor {pin.name}=WHEEL",
            )
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    local = tuple(one for one in dict.fromkeys(members) if one != ".")  # that is the project itself
    return ProjectLock(file=name, sha256=digest, pins=tuple(pins), members=local)


def find_uv() -> str:
    """Our own environment's uv, else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise InputError("uv is not installed", next_step="pip install uv")
    return found


def uv_environment(**more: str) -> dict[str, str]:
    """This process's, without what would lead uv elsewhere than the lock says."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_", "VIRTUAL_ENV"))}
    # where certificates come from is the machine's matter and no index
    kept |= {k: os.environ[k] for k in ("UV_CACHE_DIR", "UV_PYTHON") if k in os.environ}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", **more}


# -- uv.lock ------------------------------------------------------------------------------------


def _export(folder: Path, recipe: ApplicationRecipe, deadline: Deadline) -> list[str]:
    lock = read_toml(folder / "uv.lock")
    project = read_toml(folder / "pyproject.toml")
    try:
        drift = list(_drift(project, lock))
    except MALFORMED_LOCK_ERRORS as broken:
        raise InputError(
            f"uv.lock of {folder} is no lock of uv's, or its pyproject.toml says things that are "
            "not where they belong",
            why=f"{type(broken).__name__}: {broken}",
            next_step="see that `uv lock` works there",
        ) from broken
    if drift:
        raise InputError(
            f"uv.lock of {folder} is out of date",
            why="; ".join(drift[:5]) + " — in pyproject.toml and not in the lock",
            next_step="lock it again there: uv lock",
        )
    extras = [word for one in recipe.extras for word in ("--extra", one)]
    groups = [word for one in recipe.groups for word in ("--group", one)]
    words = ("export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate")
    try:
        told = run(
            (find_uv(), *words, "--offline", *extras, *groups),
            cwd=folder,
            env=uv_environment(),
            deadline=deadline.within(120),
        )
    except ProgramError as broken:
        why = re.sub(r"^error: ", "", broken.why.strip())
        extra = "xtra" in why
        raise InputError(
            f"uv cannot export the lock of {folder}",
            why=why,
            next_step="name an extra that pyproject.toml has with --extra"
            if extra
            else "see that `uv export --frozen` works there",
        ) from broken
    return logical_lines(told.out)


def _drift(project: Mapping[str, Any], lock: Mapping[str, Any]) -> Iterator[str]:
    """Requirements of pyproject.toml that are not those the lock was made for, and the reverse.

    uv writes what it locked to `package.metadata.requires-dist`: compared by name, extra and
    specifier; sources have no specifier there.
    """
    told = project.get("project", {})
    name = canonicalize_name(str(told.get("name", "")))
    roots = [one for one in lock.get("package", []) if canonicalize_name(one["name"]) == name]
    if not roots:
        if name:
            yield f"the project {name} itself"
        return
    wanted = set()
    optional = told.get("optional-dependencies", {})
    for line in told.get("dependencies", []):
        wanted.add(_key(line))
    for extra, lines in optional.items():
        wanted |= {(*_key(line)[:2], canonicalize_name(extra)) for line in lines}
    held = set()
    for one in roots[0].get("metadata", {}).get("requires-dist", []):
        extra = re.search(r"extra == '([^']+)'", one.get("marker", ""))
        specifier = _specifier(one.get("specifier", ""))
        held.add((canonicalize_name(one["name"]), specifier, extra[1] if extra else ""))
    sourced = {
        canonicalize_name(one) for one in project.get("tool", {}).get("uv", {}).get("sources", {})
    }
    sourced |= {
        canonicalize_name(Requirement(line).name)
        for line in told.get("dependencies", [])
        if Requirement(line).url
    }
    loose = {(key[0], key[2]) for key in held}
    for key in sorted(wanted - held):
        if key[0] in sourced and (key[0], key[2]) in loose:
            continue
        yield f"{key[0]}{key[1]}" + (f" (extra {key[2]})" if key[2] else "")
    named = {(key[0], key[2]) for key in wanted}
    yield from (f"no longer {key[0]}" for key in sorted(held) if (key[0], key[2]) not in named)


def _key(line: str) -> tuple[str, str, str]:
    try:
        one = Requirement(line)
    except InvalidRequirement as broken:
        raise InputError(
            f"not a requirement in pyproject.toml: {line[:80]!r}",
            why=str(broken).splitlines()[0],
            next_step="mend it, and lock again: uv lock",
        ) from broken
    return canonicalize_name(one.name), _specifier(str(one.specifier)), ""


def _specifier(text: str) -> str:
    try:
        return ",".join(sorted(str(one) for one in SpecifierSet(text)))
    except InvalidSpecifier:
        return text


# -- its lines ----------------------------------------------------------------------------------


def _parse(line: str, folder: Path, name: str) -> LockedDistribution | str:
    """A pin, or the path of a project in the source."""
    hashes = tuple(_HASH.findall(line))
    bare = _HASH.sub("", line).strip()
    if bare.startswith(("-e ", "--editable ", ".", "/", "file:")):
        at = bare.split(" ; ")[0].removeprefix("--editable").removeprefix("-e").strip()
        return _local(at, folder, name, hashes)
    try:
        one = Requirement(bare)
    except InvalidRequirement as broken:
        raise InputError(
            f"a line of {name} cannot be used: {bare[:80]!r}",
            why=str(broken).splitlines()[0],
            next_step="an image takes names with ==, URLs, and --hash; no other options",
        ) from broken
    marker = str(one.marker) if one.marker else ""
    pins: Sequence[str] = [s.version for s in one.specifier if s.operator in ("==", "===")]
    if not one.url and (len(one.specifier) != 1 or not pins or "*" in pins[0]):
        raise InputError(
            f"{one.name} is not pinned in {name}",
            why=f"{bare[:80]!r} names no single version",
            next_step="lock it: uv lock, or uv pip compile --generate-hashes",
        )
    return LockedDistribution(
        name=canonicalize_name(one.name),
        version=pins[0] if pins else "",
        marker=marker,
        hashes=hashes,
        origin=one.url or "",
    )


def _local(at: str, folder: Path, name: str, hashes: tuple[str, ...]) -> LockedDistribution | str:
    """A path of the lock: within the source it is installed from there, else it is vendored."""
    if "\0" in at:
        raise InputError(
            f"{name} names a path that cannot be",
            why=f"{at[:80]!r} holds a NUL byte",
            next_step="lock again: uv lock, or uv pip compile --generate-hashes",
        )
    path = (folder / at.removeprefix("file://")).resolve()
    if path.is_dir() and path.is_relative_to(folder.resolve()):
        return path.relative_to(folder.resolve()).as_posix()
    if not path.exists():
        raise InputError(
            f"{name} needs {at}, which is not there",
            why=f"no file and no folder {path}",
            next_step="fetch what the project lies in as a whole, or lock again",
        )
    return LockedDistribution(
        name=_named(path), version="", marker="", hashes=hashes, origin=str(path)
    )


def _named(path: Path) -> str:
    if path.is_dir():
        told = read_toml(path / "pyproject.toml") if (path / "pyproject.toml").exists() else {}
        return canonicalize_name(str(told.get("project", {}).get("name", path.name)))
    return canonicalize_name(path.name.split("-")[0])
